"""One step as the reader knows it: its partitions, what holds it, how fast it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from trunkline.admin.destinations import overview
from trunkline.admin.targets import Target
from trunkline.errors import DataError
from trunkline.kafka.messages import event_of, partition_of
from trunkline.kafka.offsets import Partition
from trunkline.scaler.backlog import PartitionBacklog
from trunkline.scaler.control_state import ControlState
from trunkline.scaler.demand import Facts
from trunkline.scaler.holds import NEVER, NO_HOLD, Hold, HoldMemory
from trunkline.scaler.measured import LONGEST_LEAD, Capacity
from trunkline.scaler.steps import ScaledStep, StepKey
from trunkline.scaler.work import NOW, OpenEvent, Work
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
        self._arrived: dict[Partition, PartitionBacklog[OpenEvent]] = {}
        self._parked: dict[Partition, PartitionBacklog[OpenEvent]] = {}
        self._spans: dict[Partition, range] = {}
        self._completed = 0
        self._members = 0

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

    def _arrived_in(self, at: Partition) -> PartitionBacklog[OpenEvent]:
        return self._arrived.setdefault(at, PartitionBacklog(self._arrival))

    def _parked_in(self, at: Partition) -> PartitionBacklog[OpenEvent]:
        return self._parked.setdefault(at, PartitionBacklog(self._parked_event))

    def _arrival(self, message: Message) -> OpenEvent:
        due = message.timestamp()[1] / 1000 + self._delay if self._delay else NOW
        return OpenEvent.arrived(event_of(message, bytes), due)

    def _parked_event(self, message: Message) -> OpenEvent:
        return OpenEvent.parked(event_of(message, bytes), self.key.destination)

    # What follows of it.

    def facts(
        self, now: float, control: ControlState, count_members: Callable[[str], int]
    ) -> Facts:
        """The step as of ``now``. ``control``: of its flow. ``count_members``: asks Kafka how many
        workers of a group have partitions; raises KafkaException."""
        state = control.of(self.key.destination)
        work = self._work(now, state)
        errands = self.key.step == "route" and control.replays
        first = min((times[0] for times in work.ready.values()), default=NEVER)
        # For what sleeps nobody need be asked.
        if self._members or errands or first <= now + LONGEST_LEAD:
            # With one broker of several away it cannot be told; then it is as it was.
            with suppress(KafkaException):
                self._members = count_members(self.group)
        hold = self._hold(now, state)
        busy = first <= now and hold.until <= now
        self._capacity.note(now, self._completed, self._members, busy=busy)
        return Facts(
            now,
            ready=work.ready,
            unread=work.unread,
            hold=hold,
            members=self._members,
            errands=errands,
            rate=self._capacity.rate,
            limit=self._step.limit,
        )

    def _work(self, now: float, state: State) -> Work:
        work, policy = Work(), self._step.policy
        decided = _decisions(state, self.key.destination, now)
        arrived, parked = _events(self._arrived), list(_events(self._parked))
        if policy is None or policy.order == "none":
            work.add(arrived)
            work.add(replace(one, due=NOW) if _is_in(decided, one) else one for one in parked)
        else:
            work.add_in_order(
                parked, arrived, is_decided=lambda one: _is_in(decided, one), decisions=state
            )
        for (_, number), backlog in self._arrived.items():
            work.add_unread(number, backlog.unread)
        for times in work.ready.values():
            times.sort()
        return work

    def _hold(self, now: float, state: State) -> Hold:
        if self._holds is None:
            return NO_HOLD
        target = Target(self.key.flow, self.key.destination)
        return self._holds.look(overview(target, state, self._members, now), now)


def _events(backlogs: Mapping[Partition, PartitionBacklog[OpenEvent]]) -> Iterator[OpenEvent]:
    for backlog in backlogs.values():
        yield from backlog.records.values()


def _is_in(decided: Mapping[tuple[int, int], int], event: OpenEvent) -> bool:
    return decided.get((event.partition, event.sequence)) == event.failures


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
