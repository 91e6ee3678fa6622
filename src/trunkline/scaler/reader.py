"""What Kafka knows of the steps: read every two seconds, and kept in memory between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from trunkline import kafka, naming
from trunkline.kafka.messages import partition_of
from trunkline.kafka.offsets import Partition
from trunkline.kafka.range_reader import reader_of
from trunkline.kafka.reading import records
from trunkline.params import Backbone
from trunkline.scaler.cluster import (
    Failure,
    GroupOffsets,
    committed_ranges,
    members_with_partitions,
)
from trunkline.scaler.control_state import ControlState
from trunkline.scaler.demand import Facts
from trunkline.scaler.step_reading import StepReading
from trunkline.scaler.steps import ScaledStep, StepKey

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds without a sign of Kafka after which a look gives up."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A step of which nothing can be known now, and why."""

    text: str


Found = Facts | Trouble


@dataclass(frozen=True, slots=True)
class Told:
    """What Kafka told in one look, or why it did not: how far the groups are, and what the
    partitions hold."""

    commits: Mapping[str, list[TopicPartition] | Failure]
    held: Mapping[Partition, range | Failure]

    def failure(self, group: str, partitions: Iterable[Partition]) -> Failure | None:
        """What was not told of a group and its partitions."""
        found = [self.commits[group], *(self.held[at] for at in partitions)]
        return next((one for one in found if isinstance(one, KafkaException)), None)


class ClusterReader:
    """Looks at everything that the steps depend on. Joins no group, commits and writes nothing.

    For one thread, which ``look`` blocks.
    """

    def __init__(self, backbone: Backbone, steps: Sequence[ScaledStep]) -> None:
        self._backbone = backbone
        self._admin = kafka.admin(backbone)
        self._offsets = GroupOffsets(backbone)
        self._consumer: Consumer | None = None
        self._steps = [StepReading(step) for step in steps]
        self._controls = {step.key.flow: ControlState(step.key.flow) for step in steps}

    def close(self) -> None:
        """Release the connections."""
        self._offsets.close()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def look(self, now: float) -> dict[StepKey, Found]:
        """What there is as of ``now``, of each step. Raises KafkaException and KafkaUnavailable if
        Kafka does not answer.

        A step of which something cannot be told, as of a partition without a leader, keeps no other
        one from being known. What is new in the topics is read, once, and no value is kept.
        """
        topics = kafka.existing_topics(self._admin)
        found: dict[StepKey, Found] = {}
        places: dict[str, list[Partition]] = {}
        for step in self._steps:
            if missing := [name for name in step.topics if name not in topics]:
                found[step.key] = self._without_topics(missing, now)
            else:
                places[step.group] = step.partitions(topics)
        controls = [c.partition for c in self._controls.values() if c.partition[0] in topics]
        # The groups first, and the topics' ends then: an event that moves meanwhile is seen twice,
        # and not never.
        commits = self._offsets.ask(places)
        every = {at for of_group in places.values() for at in of_group} | set(controls)
        told = Told(commits, committed_ranges(self._admin, every))
        known = self._known(told, places, found)
        self._read(known, told)
        for step in known:
            found[step.key] = step.facts(now, self._controls[step.key.flow], self._members)
        return found

    def _members(self, group: str) -> int:
        return members_with_partitions(self._admin, group)

    def _known(
        self, told: Told, places: Mapping[str, Sequence[Partition]], found: dict[StepKey, Found]
    ) -> list[StepReading]:
        """The steps of which all was told; why it was not of the others goes into ``found``."""
        known: list[StepReading] = []
        for step in (one for one in self._steps if one.group in places):
            control = self._controls[step.key.flow].partition
            needed = [*places[step.group], *([control] if control in told.held else [])]
            failure = told.failure(step.group, needed)
            if failure is None:
                known.append(step)
            else:
                found[step.key] = Trouble(f"Kafka does not tell how it is: {failure.args[0].str()}")
        return known

    def _without_topics(self, missing: Sequence[str], now: float) -> Found:
        """A worker makes them when it starts, if it may."""
        if self._backbone.create:
            return Facts(now, errands=True)
        return Trouble(
            f"topics are missing: {', '.join(sorted(missing))}; make them with trunkline apply"
        )

    def _read(self, steps: Sequence[StepReading], told: Told) -> None:
        """Read what was not read yet, of all topics side by side."""
        held = {at: span for at, span in told.held.items() if isinstance(span, range)}
        controls = [c for c in self._controls.values() if c.partition in held]
        spans = {control.partition: control.update(held[control.partition]) for control in controls}
        readers: dict[Partition, list[ControlState | StepReading]] = {
            control.partition: [control] for control in controls
        }
        for step in steps:
            for at, span in step.update(_told(told.commits[step.group]), held).items():
                # Two flows may read one topic: then from where the first of them is.
                before = spans.get(at, span)
                spans[at] = range(min(before.start, span.start), max(before.stop, span.stop))
                readers.setdefault(at, []).append(step)
        for message in self._records(spans):
            for one in readers[partition_of(message)]:
                one.add(message)
        for control in controls:
            control.has_read()
        for step in steps:
            step.has_read()

    def _records(self, spans: Mapping[Partition, range]) -> Iterator[Message]:
        if not any(spans.values()):
            return
        if self._consumer is None:
            self._consumer = reader_of(self._backbone, naming.SCALER_GROUP)
        try:
            yield from records(self._consumer, spans, patience=PATIENCE)
            self._consumer.unassign()  # nothing is fetched until the next look
        except (KafkaException, kafka.KafkaUnavailable):
            broken, self._consumer = self._consumer, None
            with suppress(KafkaException):
                broken.close()
            raise


def _told(one: T | Failure) -> T:
    assert not isinstance(one, KafkaException), "``_known`` has left it out"
    return one
