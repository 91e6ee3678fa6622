"""Retry tiers: topics of one fixed delay, where events wait for another attempt.

A record carries when it is due, how often it failed, and its sequence number: its offset in the
inbox, which within a key only grows. A tier is read in the order in which it was written, which
is nearly the order in which its events are due. One that is due later than its tier's delay says
(``Retry-After``, or the one before it waits longer) goes round once more, counters unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import Message

from trunkline.event import Event, header_number, replaced
from trunkline.headers import TL_ATTEMPT, TL_DUE_AT
from trunkline.kafka import PartitionRecord
from trunkline.naming import is_inbox
from trunkline.streams.flow.definition import Destination
from trunkline.times import iso_rounded_up

PATIENCE = 10.0
"""Seconds that successors of a failed event wait in memory for it, whatever the shortest delay.

Case: delays of 0.5 s, 2 s and 5 s, and 4,000 events of 40 keys, one in five of which fails. Were
each written to the tier of 0.5 s whenever the first of its key goes to one of 2 s, and back again,
each would be written 22 times before its turn comes, 3,700 a second, and nothing be sent meanwhile.
"""

AHEAD = 1.5
"""Seconds that a tier is read ahead of what is due, beyond its jitter."""

ROUNDING = 0.005
"""Seconds by which a record's times may differ from what was meant, since Kafka and the headers
keep whole milliseconds. Case: an event has the longest jitter of its tier. Written at 12.3456 s
and due 11 s later, it would be looked at at 23.345 s, be early by a millisecond, and wait for
another whole round."""

HALT_RECHECK = 60.0
"""Seconds after which a halted event looks again whether somebody has decided about it, unless the
longest delay is shorter."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier. ``delay`` and ``spread``, its longest jitter, in seconds."""

    topic: str
    delay: float
    spread: float


@dataclass(frozen=True, slots=True)
class Delays:
    """What the order of keys must know of a destination's retry topics, all in seconds.

    ``shortest``: the shortest delay; ``soon``: what is due by then is waited for in memory: that
    delay with its longest jitter, or PATIENCE; ``halt_recheck``: after which a halted event asks
    again for an operator's decision.
    """

    shortest: float
    soon: float
    halt_recheck: float


class Tiers:
    """The tiers of one destination; times are epoch seconds of ``clock``. ``random``: numbers from
    0 to 1, for jitter."""

    def __init__(
        self,
        destination: Destination[Any, Any],
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._retry = retry = destination.policy.retry
        self._clock = clock
        self._random = random
        self._delay = destination.policy.delay
        self._tiers = [
            Tier(topic, delay, retry.spread(step, 1.0) - delay)
            for step, (topic, delay) in enumerate(
                zip(destination.tiers, retry.seconds, strict=True)
            )
        ]
        self._by_topic = {tier.topic: tier for tier in self._tiers}
        self.topics = list(self._by_topic)
        shortest, longest = self._tiers[0], self._tiers[-1]
        self.delays = Delays(
            shortest.delay,
            max(shortest.delay + shortest.spread, min(longest.delay + longest.spread, PATIENCE)),
            min(HALT_RECHECK, longest.delay),
        )

    def exhausted(self, failures: int) -> bool:
        """Whether an event that failed so often has no attempt left."""
        return failures > len(self._tiers)

    def due(self, failures: int, after: float | None = None) -> float:
        """When an event that failed so often is due again; not before ``after`` seconds."""
        wait = self._retry.spread(failures - 1, self._random())
        return self._clock() + max(wait, after or 0.0)

    def tier_for(self, due: float) -> Tier:
        """The longest tier whose delay is over by then, else the shortest."""
        wait = due - self._clock() + 0.001
        fitting = [tier for tier in self._tiers if tier.delay <= wait]
        return fitting[-1] if fitting else self._tiers[0]

    def wake_at(self, event: Event[Any], written: float) -> float:
        """When to look at an event that was read: when it is due, or its tier's delay is over."""
        tier = self._by_topic.get(event.topic)
        if tier is None:
            return written + self._delay if self._delay else 0.0
        return min(due_of(event), written + tier.delay + tier.spread + ROUNDING)

    def resume_at(self, message: Message) -> float:
        """Until when reading on behind a message can wait."""
        tier = self._by_topic.get(message.topic() or "")
        written = message.timestamp()[1] / 1000
        if tier is None:
            return written + self._delay - AHEAD if self._delay else 0.0
        return written + tier.delay - AHEAD

    def retry_record(
        self, event: Event[Any], due: float, headers: Mapping[str, str]
    ) -> PartitionRecord:
        """The record that makes ``event`` wait until ``due``, in the partition where it is.
        ``headers``: those to replace; one that is "" is removed."""
        headers = {TL_DUE_AT: iso_rounded_up(due), **headers}
        gone = frozenset(name for name, text in headers.items() if not text)
        return PartitionRecord(
            self.tier_for(due).topic,
            event.partition,
            event.key.encode(),
            event.value,
            replaced(
                event.headers_without(gone),
                # An error's words may be no UTF-8: "caf\udce9", of a file's name.
                {n: text.encode(errors="replace") for n, text in headers.items() if text},
            ),
            int(self._clock() * 1000),
        )


def due_of(event: Event[Any]) -> float:
    """When an event of a tier is due, in epoch seconds; 0 for one that never waited, or whose
    header is no moment: somebody else has written it, and that must not end the worker."""
    text = event.header(TL_DUE_AT)
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0.0
    except (ValueError, OverflowError):
        return 0.0


def failures_of(event: Event[Any]) -> int:
    """How many attempts failed so far: none of an event that comes from the inbox, whatever its
    headers say, since its producer may use the name for something else."""
    return 0 if is_inbox(event.topic) else header_number(event.header(TL_ATTEMPT))
