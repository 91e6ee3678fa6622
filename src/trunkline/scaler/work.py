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
class ParkedEvent:
    """An event of a retry topic. ``due``: epoch seconds. ``halt``: of one that halts its key, the
    key of the control record that would decide about it; else ""."""

    partition: int
    key: str
    sequence: int
    failures: int
    due: float
    halt: str

    @classmethod
    def of(cls, event: Event[Any], destination: str) -> ParkedEvent:
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

    def add(self, partition: int, times: Iterable[float], unread: int = 0) -> None:
        """More events of a partition."""
        found = list(times)
        if found:
            self.ready[partition] += found
        elif unread:
            self.ready[partition].append(NOW)
            unread -= 1
        if unread:
            self.unread[partition] = self.unread.get(partition, 0) + unread

    def add_parked(
        self,
        parked: Iterable[ParkedEvent],
        *,
        ordered: bool,
        is_decided: Callable[[ParkedEvent], bool],
        decisions: Container[str],
    ) -> None:
        """The events of the retry topics.

        An event is tried when it is due, and where there is an order, not before the first of its
        key. What a halted event holds up waits for a person, and is no work. ``is_decided``:
        whether an operator has one attempted or discarded now; ``decisions``: keys of control
        records, among them those about halted events.
        """
        keys: dict[tuple[int, object], list[ParkedEvent]] = defaultdict(list)
        for event in parked:
            keys[event.partition, event.key if ordered else event.sequence].append(event)
        for (partition, _), events in keys.items():
            first = min(events, key=lambda event: event.sequence)
            if any(is_decided(event) for event in events) or first.halt in decisions:
                self.add(partition, [NOW] * len(events))
            elif not first.halt:
                self.add(partition, [first.due] * len(events))
