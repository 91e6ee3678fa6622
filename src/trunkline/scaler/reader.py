"""What Kafka knows of the steps: read every two seconds, and kept in memory between."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from trunkline import kafka, naming
from trunkline.kafka.groups import Members, committed_ranges, group_members, group_offsets
from trunkline.kafka.messages import partition_of
from trunkline.kafka.offsets import Partition
from trunkline.kafka.range_reader import reader_of
from trunkline.kafka.reading import records
from trunkline.params import Backbone
from trunkline.scaler.demand import Facts
from trunkline.scaler.step_reading import StepReading
from trunkline.scaler.steps import ScaledStep, StepKey
from trunkline.streams.control.topic import Value, apply_change, parse_record

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds without a sign of Kafka after which a look gives up."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A step of which nothing can be known now, and why."""

    text: str


Found = Facts | Trouble


class ControlState:
    """A flow's control topic, as far as it was read. For the reader's thread."""

    def __init__(self, flow: str) -> None:
        self.partition: Partition = (naming.control(flow), 0)
        self.values: dict[str, Value] = {}
        self.next = 0

    def span(self, held: range) -> range:
        """What is to be read now. A topic that was made anew is read again."""
        if held.stop < self.next:
            self.values.clear()
            self.next = 0
        return range(max(self.next, held.start), held.stop)

    def add(self, message: Message) -> None:
        """A record was read."""
        if (change := parse_record(message)) is not None:
            apply_change(self.values, *change)


class ClusterReader:
    """Looks at everything that the steps depend on. Joins no group, commits and writes nothing.

    For one thread, which ``look`` blocks.
    """

    def __init__(self, backbone: Backbone, steps: Sequence[ScaledStep]) -> None:
        self._backbone = backbone
        self._admin = kafka.admin(backbone)
        self._consumer: Consumer | None = None
        self._steps = [StepReading(step) for step in steps]
        self._controls = {step.key.flow: ControlState(step.key.flow) for step in steps}

    def close(self) -> None:
        """Release the connections."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def look(self, now: float) -> dict[StepKey, Found]:
        """What there is as of ``now``, of each step. Raises KafkaException and KafkaUnavailable if
        Kafka does not answer.

        1. Which topics are there? A step that lacks one is not looked at further.
        2. How far are the groups? Before the ends of the topics: an event that moves meanwhile is
           seen twice, and not never.
        3. What do the topics hold? Of that is read what is new, once, and no value kept.
        """
        topics = kafka.existing_topics(self._admin)
        found: dict[StepKey, Found] = {}
        whole: list[StepReading] = []
        for step in self._steps:
            if missing := [name for name in step.topics if name not in topics]:
                found[step.key] = self._without_topics(missing, now)
            else:
                whole.append(step)
        places = {step: step.partitions(topics) for step in whole}
        commits = group_offsets(self._admin, {step.group: places[step] for step in whole})
        members = group_members(self._admin, [step.group for step in whole])
        controls = [c for c in self._controls.values() if c.partition[0] in topics]
        read = {at for step in whole for at in places[step]} | {c.partition for c in controls}
        held = committed_ranges(self._admin, read)
        self._read(whole, controls, commits, held)
        for step in whole:
            state = self._controls[step.key.flow].values
            found[step.key] = step.facts(now, state, members.get(step.group, Members(0, 0)))
        return found

    def _without_topics(self, missing: Sequence[str], now: float) -> Found:
        """A worker makes them when it starts, if it may."""
        if self._backbone.create:
            return Facts(now, errands=True)
        return Trouble(
            f"topics are missing: {', '.join(sorted(missing))}; make them with trunkline apply"
        )

    def _read(
        self,
        steps: Sequence[StepReading],
        controls: Sequence[ControlState],
        commits: Mapping[str, Sequence[TopicPartition]],
        held: Mapping[Partition, range],
    ) -> None:
        """Read what was not read yet, of all topics side by side."""
        spans = {control.partition: control.span(held[control.partition]) for control in controls}
        readers: dict[Partition, list[Any]] = {c.partition: [c] for c in controls}
        for step in steps:
            for at, span in step.update(commits.get(step.group, ()), held).items():
                # Two flows may read one topic: then from where the first of them is.
                before = spans.get(at, span)
                spans[at] = range(min(before.start, span.start), max(before.stop, span.stop))
                readers.setdefault(at, []).append(step)
        for message in self._records(spans):
            for one in readers[partition_of(message)]:
                one.add(message)
        for control in controls:
            control.next = spans[control.partition].stop
        for step in steps:
            step.has_read()

    def _records(self, spans: Mapping[Partition, range]) -> Any:
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
