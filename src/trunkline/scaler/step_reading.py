"""One step as the reader knows it: its partitions, what holds it, how fast it is."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Message, TopicPartition

from trunkline.admin.destinations import overview
from trunkline.admin.targets import Target
from trunkline.errors import DataError
from trunkline.kafka.groups import Members
from trunkline.kafka.messages import event_of, partition_of
from trunkline.kafka.offsets import Partition
from trunkline.scaler.backlog import PartitionBacklog
from trunkline.scaler.control_state import ControlState
from trunkline.scaler.demand import Facts
from trunkline.scaler.holds import NO_HOLD, Hold, HoldMemory
from trunkline.scaler.measured import Capacity
from trunkline.scaler.steps import ScaledStep, StepKey
from trunkline.scaler.work import NOW, ParkedEvent, Work
from trunkline.streams.control.records import RetryKey
from trunkline.streams.control.topic import Value
from trunkline.streams.deliver.recovery import offsets_from_commits
from trunkline.streams.retry.decisions import RetryDecision

log = logging.getLogger(__name__)

State = Mapping[str, Value]


class StepReading:
    """What is known of one step. For the reader's thread."""

    def __init__(self, step: ScaledStep) -> None:
        self.key: StepKey = step.key
        self.group = step.group
        self.topics = (*step.topics, *step.tiers)
        self._step = step
        self._delay = 0.0 if step.policy is None else step.policy.delay
        self._holds = None if step.policy is None else HoldMemory(step.policy)
        self._capacity = Capacity()
        self._arrived: dict[Partition, PartitionBacklog[float]] = {}
        self._parked: dict[Partition, PartitionBacklog[ParkedEvent]] = {}
        self._spans: dict[Partition, range] = {}
        self._completed = 0

    def partitions(self, topics: Mapping[str, int]) -> list[Partition]:
        """All partitions that it reads. ``topics``: how many each has."""
        return [(topic, number) for topic in self.topics for number in range(topics[topic])]

    # What is read.

    def update(
        self, commits: Iterable[TopicPartition], held: Mapping[Partition, range]
    ) -> dict[Partition, range]:
        """Note how far the group is, and what there is; returns what is to be read."""
        self._spans, self._completed = {}, 0
        for at, progress in offsets_from_commits(commits).items():
            if at[0] in self._step.tiers:
                span = self._parked_in(at).update(progress, held[at])
            else:
                self._completed += progress.committable
                span = self._arrived_in(at).update(progress, held[at])
            if span:
                self._spans[at] = span
        return self._spans

    def add(self, message: Message) -> None:
        """A record was read; one that is not ours is left out."""
        at = partition_of(message)
        if (message.offset() or 0) not in self._spans.get(at, ()):
            return
        backlog: PartitionBacklog[Any] = (self._parked if at in self._parked else self._arrived)[at]
        backlog.add(message)

    def has_read(self) -> None:
        """All that ``update`` returned is read."""
        for at, span in self._spans.items():
            backlog: Any = (self._parked if at in self._parked else self._arrived)[at]
            backlog.has_read(span)

    def _arrived_in(self, at: Partition) -> PartitionBacklog[float]:
        return self._arrived.setdefault(at, PartitionBacklog(self._arrival))

    def _parked_in(self, at: Partition) -> PartitionBacklog[ParkedEvent]:
        return self._parked.setdefault(at, PartitionBacklog(self._parked_event))

    def _arrival(self, message: Message) -> float:
        return message.timestamp()[1] / 1000 + self._delay if self._delay else NOW

    def _parked_event(self, message: Message) -> ParkedEvent:
        return ParkedEvent.of(event_of(message, bytes), self.key.destination)

    # What follows of it.

    def facts(self, now: float, control: ControlState, members: Members) -> Facts:
        """The step as of ``now``. ``control``: of its flow."""
        state = control.of(self.key.destination)
        work = self._work(now, state)
        hold = self._hold(now, state, members)
        busy = any(times[0] <= now for times in work.ready.values()) and hold.until <= now
        self._capacity.note(now, self._completed, members.assigned, busy=busy)
        return Facts(
            now,
            ready=work.ready,
            unread=work.unread,
            hold=hold,
            members=members.assigned,
            errands=self.key.step == "route" and control.replays,
            rate=self._capacity.rate,
            limit=self._step.limit,
        )

    def _work(self, now: float, state: State) -> Work:
        work = Work()
        for (_, number), arrived in self._arrived.items():
            # Two canonical topics have a partition 0 each, and one worker has both.
            work.add(number, arrived.records.values(), arrived.unread)
        if self._step.policy is not None:
            decided = _decisions(state, self.key.destination, now)
            work.add_parked(
                (one for backlog in self._parked.values() for one in backlog.records.values()),
                ordered=self._step.policy.order == "key",
                is_decided=lambda one: decided.get((one.partition, one.sequence)) == one.failures,
                decisions=state,
            )
        for times in work.ready.values():
            times.sort()
        return work

    def _hold(self, now: float, state: State, members: Members) -> Hold:
        if self._holds is None:
            return NO_HOLD
        target = Target(self.key.flow, self.key.destination)
        return self._holds.look(overview(target, state, members.assigned, now), now)


def _decisions(state: State, destination: str, now: float) -> dict[tuple[int, int], int]:
    """The events that an operator has decided about, and how often each had failed."""
    found: dict[tuple[int, int], int] = {}
    prefix = RetryKey.prefix(destination)
    for text, value in state.items():
        if not text.startswith(prefix) or (key := RetryKey.parse(text)) is None:
            continue
        try:
            decision = RetryDecision.from_record(value)
        except DataError as error:
            log.debug("the control record %r is left out: %s", text, error)  # workers tell it
            continue
        if decision.ends_at() > now:
            found |= {(key.partition, sequence): n for sequence, n in decision.events.items()}
    return found
