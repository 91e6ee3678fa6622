"""When each event of a step can be tried, by the records that are not completed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from trunkline.event import Event
from trunkline.headers import TL_HALTED
from trunkline.streams.control.records import HaltKey
from trunkline.streams.dlq.halted import halted_event_of
from trunkline.streams.retry.tiers import due_of, failures_of

NOW = 0.0
"""The time of what nothing but its destination holds up."""


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """An event that is not completed. ``due``: when it may be tried, in epoch seconds;
    ``failures``: attempts so far. ``halt``: of one that halts its key, the key of the control
    record that would decide about it; else ""."""

    partition: int
    key: str
    sequence: int
    failures: int
    due: float
    halt: str = ""

    @classmethod
    def arrived(cls, event: Event[Any], due: float) -> OpenEvent:
        """From the record of a topic where events arrive."""
        return cls(event.partition, event.key, event.sequence, 0, due)

    @classmethod
    def parked(cls, event: Event[Any], destination: str) -> OpenEvent:
        """From the record of a retry topic."""
        halt = ""
        if event.header(TL_HALTED):
            halt = HaltKey(destination, *halted_event_of(event, event.partition)).text
        return cls(
            *(event.partition, event.key, event.sequence, failures_of(event), due_of(event), halt)
        )


@dataclass(slots=True)
class Work:
    """What waits in a step. ``ready``: by partition, when each event can be tried, in epoch
    seconds. ``unread``: by partition, how many more there are at the most, which can be tried
    when the first of those can."""

    ready: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    unread: dict[int, int] = field(default_factory=dict)

    def add(self, arrived: Iterable[OpenEvent]) -> None:
        """Events where there is no order, or nothing waits for another attempt."""
        for event in arrived:
            self.ready[event.partition].append(event.due)

    def add_unread(self, partition: int, count: int) -> None:
        """Offsets that were not looked at yet; where they are all, one of them is an event now."""
        if count and not self.ready.get(partition):
            self.ready[partition].append(NOW)
            count -= 1
        if count:
            self.unread[partition] = self.unread.get(partition, 0) + count

    def add_in_order(
        self,
        parked: Iterable[OpenEvent],
        arrived: Iterable[OpenEvent],
        *,
        is_decided: Callable[[OpenEvent], bool],
        decisions: Container[str],
    ) -> None:
        """The events of retry topics and of the inbox, of a destination with an order per key.

        None is tried before the first of its key is due, also one that is still in the inbox: a
        worker only keeps it in memory, and need not run for that. What a halted event holds up
        waits for a person, and is no work. ``is_decided``: whether an operator has an event
        attempted or discarded now; ``decisions``: keys of control records, among them those about
        halted events.
        """
        keys: dict[tuple[int, str], list[OpenEvent]] = defaultdict(list)
        for event in parked:
            keys[event.partition, event.key].append(event)
        for event in arrived:
            if (waiting := keys.get((event.partition, event.key))) is not None:
                waiting.append(event)
            else:
                self.ready[event.partition].append(event.due)
        for (partition, _), events in keys.items():
            first = min(events, key=lambda event: event.sequence)
            if any(is_decided(event) for event in events) or first.halt in decisions:
                self.ready[partition] += [NOW] * len(events)
            elif not first.halt:
                self.ready[partition] += [first.due] * len(events)
