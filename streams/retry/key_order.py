"""Whose turn it is: order per key through retries, as a state machine without I/O.

An event may be sent only if nothing of its key waits, or it is the first that waits. Any other
goes behind: into memory if its turn comes soon and there is room, else into a tier. Its turn comes
soon if all before it are in memory too, and the key's pace will have brought them through before
a tier would be over: so a key leaves its tiers in long rows, and memory is never full of events
that wait for one which is not read yet. Nothing here is stored. Each decision is a call of
``send`` or ``move``; the engine commits what they lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from trunkline.event import Event
from trunkline.headers import TL_HALTED
from trunkline.streams.retry.blocked_keys import BlockedKeys
from trunkline.streams.retry.tiers import due_of

FARTHEST = 10
"""How many times the shortest delay one waits for its turn at the most: what the pace will be
then nobody knows."""

MEMORY = 5_000
"""Events that wait for their turn in memory, at the most."""


class Engine(Protocol):
    """What carries the decisions out."""

    def send(self, event: Event[Any]) -> None:
        """Put the event at the end of its lane."""
        ...

    def move(self, event: Event[Any], due: float, **headers: str) -> None:
        """Write the event to a tier, due then, and count it as completed where it was."""
        ...

    def behind(self, key: str) -> list[Event[Any]]:
        """Take the events out of a key's lane that are not under way, in order."""
        ...

    def active(self, key: str) -> bool:
        """Whether an event of the key is in a lane or under way."""
        ...

    def preceded(self, partition: int, sequence: int) -> bool:
        """Whether all of the inbox was read that is before this number."""
        ...

    def released(self, event: Event[Any]) -> str:
        """What an operator decided about a halted event: ``retry``, ``discard``, or ""."""
        ...

    def discard(self, event: Event[Any]) -> None:
        """Count a halted event as completed without sending it."""
        ...

    @property
    def reading(self) -> bool:
        """Whether what is still in tiers is surely read on, whatever waits in memory."""
        ...


class KeyOrder:
    """The order of one destination's events in one worker.

    ``shortest``: the shortest tier's delay in seconds; ``soon``: what is due within so many
    seconds is waited for in memory; ``halt``: seconds after which a halted event looks again
    whether somebody has decided about it. ``clock``: epoch seconds.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        inbox: str,
        ordered: bool,
        shortest: float,
        soon: float,
        halt: float,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._inbox = inbox
        self._ordered = ordered
        self._shortest = shortest
        self._soon_within = soon
        self._halt = halt
        self._clock = clock
        self._pace = ServiceTime()
        self.waiting = BlockedKeys()
        self.begin(())

    def begin(self, entries: Iterable[tuple[str, int, float]]) -> None:
        """Forget everything; ``entries`` is what waits in tiers: key, sequence number, due."""
        self.waiting = BlockedKeys(entries if self._ordered else ())
        self._followers: dict[str, dict[int, Event[Any]]] = {}
        self._sent: dict[str, int] = {}  # the last of a key that followed in its lane
        self.followers = 0
        self._pace.forget()

    def on_arrival(self, event: Event[Any]) -> None:
        """An event of the inbox."""
        if self._ordered and event.key in self.waiting:
            self.waiting.join(event.key, event.offset, 0.0)
            if not self._is_next(event):
                self._follow(event, self._soon(event.key))
                return
        self._engine.send(event)

    def on_due(self, event: Event[Any]) -> None:
        """An event of a tier, whose time to be looked at has come."""
        if self._ordered and not self._is_next(event):
            self._follow(event, self._soon(event.key))
        elif event.header(TL_HALTED):
            self._halted(event)
        elif due_of(event) > self._clock():
            self._move(event, due_of(event))
        else:
            self._engine.send(event)

    def on_retry(self, event: Event[Any], due: float, **headers: str) -> None:
        """The event was attempted and waits until ``due``; the others of its key stay behind it."""
        self._move(event, due, **headers)
        if not self._ordered:
            return
        if event.key in self.waiting:
            self.waiting.postpone(event.key, due)
        else:
            self.waiting.join(event.key, self._sequence(event), due)
        self._sent.pop(event.key, None)
        self._pace.stopped(event.key)
        for later in self._engine.behind(event.key):
            self.on_superseded(later)
        self._regroup(event.key)

    def on_halt(self, event: Event[Any], **headers: str) -> None:
        """The event halts its key: it waits until somebody has decided about it."""
        self.on_retry(event, self._clock() + self._halt, tl_halted="1", **headers)

    def on_superseded(self, event: Event[Any]) -> None:
        """An earlier one of the event's key has failed, perhaps in one call with it: it goes
        behind, even if it was applied. So the newest state comes last."""
        self.waiting.join(event.key, self._sequence(event), 0.0)
        self._follow(event, self._due_soon(event.key))

    def on_done(self, event: Event[Any]) -> None:
        """The event is delivered or dead-lettered: the next of its key may go."""
        key = event.key
        if not self._ordered or self.waiting.first(key) != self._sequence(event):
            return
        self.waiting.leave(key)
        self._pace.ended(key, self._clock())
        if key in self._followers:
            self._send_next(key)
        first = self.waiting.first(key)
        if first is None or first > self._sent.get(key, -1):  # the next is not in the lane
            self._sent.pop(key, None)
            self._pace.stopped(key)

    def spill(self, keys: Iterable[str] | None = None) -> None:
        """What waits in memory for one that is in a tier waits there, too: it keeps back the
        prefix of its partition. ``keys``: look at these only."""
        for key in list(self._followers) if keys is None else keys:
            if key in self._followers and not self._engine.active(key):
                self._send_away(key)

    def _halted(self, event: Event[Any]) -> None:
        decision = self._engine.released(event)
        if decision == "retry":
            self._engine.send(event)
        elif decision == "discard":
            self._engine.discard(event)
        else:
            self.on_retry(event, self._clock() + self._halt)

    def _follow(self, event: Event[Any], soon: bool) -> None:
        if soon and self._in_reach(event):
            self._followers.setdefault(event.key, {})[self._sequence(event)] = event
            self.followers += 1
        else:
            self._move_behind(event)

    def _is_next(self, event: Event[Any]) -> bool:
        """Whether it is the first of its key that waits. After a restart or a rebalance earlier
        ones may be in the inbox yet, which waited in the memory of who had the partition."""
        sequence = self._sequence(event)
        first = self.waiting.first(event.key) == sequence
        return first and self._engine.preceded(event.partition, sequence)

    def _in_reach(self, event: Event[Any]) -> bool:
        """Whether there is room, all before it are in memory, and they will soon be through."""
        key, sequence = event.key, self._sequence(event)
        if not self._engine.preceded(event.partition, sequence):
            return False
        place = self.waiting.rank(key, sequence)
        if self.followers >= MEMORY or place * self._pace.seconds > self._soon_within:
            return False
        if not (self._engine.active(key) or self._engine.reading):
            return False
        before = self.waiting.sequences(key)[max(0, place - 1)]
        return (
            place <= 1
            or before <= self._sent.get(key, -1)
            or before in self._followers.get(key, ())
        )

    def _soon(self, key: str) -> bool:
        """Whether the first of the key is under way, or due before a tier would be over."""
        return self._engine.active(key) or self._due_soon(key)

    def _due_soon(self, key: str) -> bool:
        return self.waiting.due(key) <= self._clock() + self._soon_within

    def _regroup(self, key: str) -> None:
        """The first of the key waits longer now: those behind it in memory, too."""
        if not (self._due_soon(key) and self._engine.reading):
            self._send_away(key)

    def _move_behind(self, event: Event[Any]) -> None:
        """Until the first of the key is due, and for the shortest delay at least; longer if so
        many are before it that going round sooner would be in vain."""
        place = self.waiting.rank(event.key, self._sequence(event))
        wait = min(place * self._pace.seconds / 2, FARTHEST * self._shortest)
        soonest = self._clock() + max(wait, self._shortest)
        self._move(event, max(self.waiting.due(event.key), soonest))

    def _send_away(self, key: str) -> None:
        following = self._followers.pop(key, {})
        self.followers -= len(following)
        for _, event in sorted(following.items()):
            self._move_behind(event)

    def _send_next(self, key: str) -> None:
        """Those of the key whose turn it is now, one behind the other, into its lane."""
        following, sent = self._followers[key], self._sent.get(key, -1)
        for sequence in self.waiting.sequences(key):
            if sequence in following:
                self._engine.send(following.pop(sequence))
                self.followers -= 1
                self._sent[key] = sequence
            elif sequence > sent:  # it is still in a tier, and those behind it must wait
                break
        if not following:
            del self._followers[key]

    def _move(self, event: Event[Any], due: float, **headers: str) -> None:
        self._engine.move(event, due, tl_seq=str(self._sequence(event)), **headers)

    def _sequence(self, event: Event[Any]) -> int:
        return event.sequence


WEIGHT = 1 / 16
"""What the newest measurement counts in the average (exponential smoothing, Holt 1957)."""


LONGEST = 0.25
"""Seconds that one measurement counts at most: an outage is no pace."""


class ServiceTime:
    """The average over all keys, in seconds per event; 0 until something was measured."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: dict[str, float] = {}

    def ended(self, key: str, now: float) -> None:
        """An event of the key is done with, and the next one of its lane is sent."""
        since = self._since.get(key)
        if since is not None:
            self.seconds += WEIGHT * (min(now - since, LONGEST) - self.seconds)
        self._since[key] = now

    def stopped(self, key: str) -> None:
        """The key's lane has nothing more."""
        self._since.pop(key, None)

    def forget(self) -> None:
        """All lanes are gone."""
        self._since.clear()
