"""Order per key through retries: which event may be sent now, as a state machine without I/O.

An event may be sent if no event of its key waits for another attempt, or if it is the first that
waits. Every other event of the key is a *successor*: it is buffered in memory or written to a
retry topic, and is sent after those before it.

What comes in: events of the inbox (``on_arrival``), events of retry topics (``on_due``), and what
became of those that were sent (``on_done``, ``on_retry``, ``on_halt``, ``on_superseded``). What
goes out: events that may be sent stand in ``queues``; whatever else must happen is returned as
actions, which the caller carries out at once, in their order.

Example: orders 1, 2 and 3 of one customer. 1 fails: ``on_retry(1)`` returns a ``RetryLater`` of 1,
and the key is blocked. 2 and 3 arrive: they are buffered. 1 comes back from its retry topic
(``on_due(1)``) into the queue and is delivered: ``on_done(1)`` puts 2 and 3 into the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from trunkline.event import Event
from trunkline.headers import TL_HALTED, TL_SEQ
from trunkline.streams.retry.blocked_keys import BlockedKeys
from trunkline.streams.retry.decisions import RetryAction
from trunkline.streams.retry.halted_keys import HaltedKey, HaltedKeys
from trunkline.streams.retry.key_queues import KeyQueues
from trunkline.streams.retry.tiers import Delays, due_of

MAX_DELAYS = 10
"""A successor that is written to a retry topic waits at most so many times the shortest delay:
how fast its key will be by then, nobody knows."""

MAX_BUFFERED = 5_000
"""Successors that are buffered in memory, at the most."""


class RetryLater(NamedTuple):
    """Write the event to a retry topic, due at ``due`` (epoch seconds) and with these headers
    replaced (one that is "" is removed), and count it as completed where it was read."""

    event: Event[Any]
    due: float
    headers: Mapping[str, str]


class Discard(NamedTuple):
    """Count a halted event as completed without sending it, as an operator decided."""

    event: Event[Any]


class AskOperator(NamedTuple):
    """Look up what an operator decided about a halted event, and call ``on_decision``."""

    event: Event[Any]


Action = RetryLater | Discard | AskOperator


class ReadProgress(Protocol):
    """How far the destination's topics are read: what key order must know about the world."""

    def has_read_up_to(self, partition: int, sequence: int) -> bool:
        """Whether the inbox's partition was read up to this sequence number."""
        ...

    def reads_on(self) -> bool:
        """Whether reading surely goes on, so that what is still in topics comes, even if nothing
        that is in memory is completed."""
        ...


class KeyOrder:
    """The order of one destination's events in one worker. Called in the event loop only.

    ``ordered=False``: there is no order, and a failed event holds up nobody. ``clock``: epoch
    seconds.
    """

    def __init__(
        self,
        progress: ReadProgress,
        delays: Delays,
        *,
        ordered: bool,
        clock: Callable[[], float],
    ) -> None:
        self._progress = progress
        self._ordered = ordered
        self._delays = delays
        self._clock = clock
        self._service_time = ServiceTime()
        self.queues = KeyQueues(ordered=ordered)
        """The events that may be sent."""
        self.begin(())

    def begin(
        self, entries: Iterable[tuple[str, int, float]], halted: Iterable[HaltedKey] = ()
    ) -> None:
        """Forget everything and begin with what waits in retry topics: ``entries`` are key,
        sequence number and due time of each event there; ``halted``: which of them halt their
        keys, known once ``entries`` are read."""
        self.queues.clear()
        self.blocked = BlockedKeys(entries if self._ordered else ())
        self.halted = HaltedKeys(halted)
        self.buffered = 0
        self._successors: dict[str, dict[int, Event[Any]]] = {}
        self._followed: dict[str, int] = {}  # the last successor of a key that its queue has got
        self._service_time.forget()

    # Events come in.

    def on_arrival(self, event: Event[Any]) -> Sequence[Action]:
        """An event of the inbox was read."""
        if self._ordered and event.key in self.blocked:
            self.blocked.join(event.key, event.offset, 0.0)
            if not self._is_next(event):
                return self._follow(event, soon=self._first_is_soon(event.key))
        self.queues.add(event)
        return ()

    def on_due(self, event: Event[Any], decided: RetryAction | None = None) -> Sequence[Action]:
        """An event of a retry topic was read, and the time to look at it has come; or an operator
        has ``decided`` about it, and has it attempted before that, or discarded."""
        if decided == "discard" and not event.header(TL_HALTED):
            return self._discard(event)
        now = decided == "now"
        if self._ordered and not self._is_next(event):
            return self._follow(event, soon=now or self._first_is_soon(event.key), now=now)
        if event.header(TL_HALTED):
            return (AskOperator(event),)
        if now:
            self.blocked.postpone(event.key, self._clock())
        elif due_of(event) > self._clock():  # its due time is beyond the delay of its topic
            return (self._retry(event, due_of(event)),)
        self.queues.add(event)
        return ()

    def on_decision(self, event: Event[Any], decision: str) -> Sequence[Action]:
        """What an operator decided about a halted event: ``retry``, ``discard``, or "" for
        nothing yet: then the event asks again later."""
        if decision == "retry":
            self.halted.remove(event.key)
            self.queues.add(event)
            return ()
        if decision == "discard":
            self.on_done(event)
            return (Discard(event),)
        self.halted.add(HaltedKey.of(event))
        return self.on_retry(event, self._clock() + self._delays.halt_recheck, {})

    def on_decided(self, action: Callable[[Event[Any]], RetryAction | None]) -> Sequence[Action]:
        """An operator has decided about events that wait: discard those that are in memory."""
        buffered = [event for each in self._successors.values() for event in each.values()]
        return [
            done
            for event in buffered
            if action(event) == "discard"
            for done in self._discard(event)
        ]

    def go_round(self, event: Event[Any]) -> Sequence[Action]:
        """Write an event that is not due back to a retry topic, unchanged."""
        return (self._retry(event, due_of(event)),)

    def _discard(self, event: Event[Any]) -> Sequence[Action]:
        key, sequence = event.key, event.sequence
        if sequence in self._successors.get(key, ()):
            del self._successors[key][sequence]
            self.buffered -= 1
            if not self._successors[key]:
                del self._successors[key]
        if self.blocked.first(key) == sequence:
            self.on_done(event)
        else:
            self.blocked.remove(key, sequence)
        return (Discard(event),)

    # What became of an event that was sent.

    def on_done(self, event: Event[Any]) -> None:
        """The event is delivered or dead-lettered: its successors may be sent."""
        key = event.key
        first = self.blocked.first(key)
        if first is None or first != event.sequence:
            return  # nothing waits for it: this is the way of nearly all events
        self.blocked.leave(key)
        self.halted.remove(key)
        self._service_time.ended(key, self._clock())
        if key in self._successors:
            self._send_successors(key)
        first = self.blocked.first(key)
        if first is None or first > self._followed.get(key, -1):  # the next is not in the queue
            self._followed.pop(key, None)
            self._service_time.stopped(key)

    def on_retry(
        self, event: Event[Any], due: float, headers: Mapping[str, str]
    ) -> Sequence[Action]:
        """The event was attempted and waits until ``due``; the others of its key wait behind it.

        1. The event goes to a retry topic.
        2. Its key is blocked until then.
        3. What was still in the key's queue becomes successors.
        4. Successors that are in memory go to retry topics as well, unless the event is due soon.
        """
        actions: list[Action] = [self._retry(event, due, headers)]
        if not self._ordered:
            return actions
        key = event.key
        if key in self.blocked:
            self.blocked.postpone(key, due)
        else:
            self.blocked.join(key, event.sequence, due)
        self._followed.pop(key, None)
        self._service_time.stopped(key)
        for later in self.queues.drain_pending(key):
            actions += self.on_superseded(later)
        # Case: the destination answered "Retry-After: 600". Successors that were buffered while
        # the event was due in 10 s would stay in memory for ten minutes, and none of the offsets
        # behind them could be committed.
        if not (self._first_is_due_soon(key) and self._progress.reads_on()):
            actions += self._spill(key)
        return actions

    def on_halt(self, event: Event[Any], headers: Mapping[str, str]) -> Sequence[Action]:
        """The event halts its key: it waits until an operator has decided about it."""
        self.halted.add(HaltedKey.of(event, headers))
        headers = {TL_HALTED: "1", **headers}
        return self.on_retry(event, self._clock() + self._delays.halt_recheck, headers)

    def on_superseded(self, event: Event[Any]) -> Sequence[Action]:
        """An earlier event of the key has failed, perhaps in the same call: this one becomes its
        successor, even if the call has applied it.

        Case: a call has orders 1 and 2 of one key; 1 fails, 2 is applied. When 1 is tried again
        and applied, the destination has the older state, unless 2 is sent once more.
        """
        self.blocked.join(event.key, event.sequence, 0.0)
        return self._follow(event, soon=self._first_is_due_soon(event.key))

    def release(self, events: Sequence[Event[Any]]) -> Sequence[Action]:
        """The queues of these events are in no batch any more."""
        self.queues.release(events)
        if self.buffered and not self._progress.reads_on():
            return self.spill({event.key for event in events})
        return ()

    def spill(self, keys: Iterable[str] | None = None) -> Sequence[Action]:
        """Move buffered successors of idle keys to retry topics. ``keys``: of these keys only.

        For when reading may stop. Case: 5,000 successors in memory wait for an event that is
        still in a retry topic. They are open, so they hold back the committed offset; once the
        limit of open events is reached nothing more is read, and the event that they wait for
        never comes.
        """
        actions: list[Action] = []
        for key in list(self._successors) if keys is None else keys:
            if key in self._successors and key not in self.queues:
                actions += self._spill(key)
        return actions

    # How successors wait.

    def _is_next(self, event: Event[Any]) -> bool:
        """Whether the event is the first of its key that waits.

        Not before the inbox was read up to it. Case: a worker dies with orders 1 and 2 of a key:
        1 in its memory (read from the inbox), 2 in a retry topic. The next worker finds 2 there
        as the first that waits, and reads 1 from the inbox a moment later.
        """
        sequence = event.sequence
        first = self.blocked.first(event.key) == sequence
        return first and self._progress.has_read_up_to(event.partition, sequence)

    def _follow(self, event: Event[Any], *, soon: bool, now: bool = False) -> Sequence[Action]:
        """Let the event wait as a successor: in memory if its turn comes ``soon`` and it can be
        buffered, else in a retry topic. ``now``: those before it are attempted at once, too, so it
        does not wait until the first of them is due."""
        if soon and self._can_buffer(event):
            self._successors.setdefault(event.key, {})[event.sequence] = event
            self.buffered += 1
            return ()
        return (self._retry_behind(event, now=now),)

    def _can_buffer(self, event: Event[Any]) -> bool:
        """Whether the event may wait in memory.

        1. The inbox was read up to it: nothing before it is unknown.
        2. There is room in memory.
        3. Those before it will be through soon, by the time that events of a key take. Case: 5,000
           events of a key at 100 ms each: those at the end would hold memory for eight minutes.
        4. Its key is under way, or reading surely goes on (see ``spill``).
        5. The one before it is in memory, too, or already sent. Otherwise memory could fill with
           successors of an event that is itself still in a retry topic. So a key leaves its
           retry topics in long rows, not one event a round.
        """
        key, sequence = event.key, event.sequence
        if not self._progress.has_read_up_to(event.partition, sequence):
            return False
        rank = self.blocked.rank(key, sequence)
        if self.buffered >= MAX_BUFFERED or rank * self._service_time.seconds > self._delays.soon:
            return False
        if not (key in self.queues or self._progress.reads_on()):
            return False
        before = self.blocked.sequences(key)[max(0, rank - 1)]
        return (
            rank <= 1
            or before <= self._followed.get(key, -1)
            or before in self._successors.get(key, ())
        )

    def _first_is_soon(self, key: str) -> bool:
        """Whether the first of the key is under way, or due soon."""
        return key in self.queues or self._first_is_due_soon(key)

    def _first_is_due_soon(self, key: str) -> bool:
        # A halted event is due again every few seconds, and maybe for days: its successors would
        # hold back the committed offsets all the time.
        due_soon = self.blocked.due(key) <= self._clock() + self._delays.soon
        return due_soon and key not in self.halted

    def _send_successors(self, key: str) -> None:
        """Put the successors whose turn it is, one behind the other, into the key's queue."""
        successors, followed = self._successors[key], self._followed.get(key, -1)
        for sequence in self.blocked.sequences(key):
            if sequence in successors:
                self.queues.add(successors.pop(sequence))
                self.buffered -= 1
                self._followed[key] = sequence
            elif sequence > followed:  # it is still in a retry topic, and those behind it wait
                break
        if not successors:
            del self._successors[key]

    def _spill(self, key: str) -> Iterable[Action]:
        """Move the buffered successors of a key to retry topics, in their order."""
        successors = self._successors.pop(key, {})
        self.buffered -= len(successors)
        return [self._retry_behind(event) for _, event in sorted(successors.items())]

    def _retry_behind(self, event: Event[Any], *, now: bool = False) -> RetryLater:
        """Write a successor to a retry topic until the first of its key is due, and for the
        shortest delay at least.

        Longer if many are before it: half of the time that those will take. Case: 1,000 events
        of a key at 100 ms each, tier of 10 s: the last would go round ten times in vain.
        """
        rank = self.blocked.rank(event.key, event.sequence)
        wait = min(rank * self._service_time.seconds / 2, MAX_DELAYS * self._delays.shortest)
        soonest = self._clock() + max(wait, self._delays.shortest)
        return self._retry(event, soonest if now else max(self.blocked.due(event.key), soonest))

    def _retry(
        self, event: Event[Any], due: float, headers: Mapping[str, str] | None = None
    ) -> RetryLater:
        return RetryLater(event, due, {TL_SEQ: str(event.sequence), **(headers or {})})


WEIGHT = 1 / 16
"""What the newest measurement counts in the average (exponential smoothing, Holt 1957)."""

MAX_SERVICE_TIME = 0.25
"""Seconds that one measurement counts at most: during an outage of a minute the key did not take
a minute an event."""


class ServiceTime:
    """How long an event of a key takes: the average over all keys, in seconds; 0 until something
    was measured."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: dict[str, float] = {}

    def ended(self, key: str, now: float) -> None:
        """Measure: an event of the key is done with, and the next one of its queue is sent."""
        since = self._since.get(key)
        if since is not None:
            self.seconds += WEIGHT * (min(now - since, MAX_SERVICE_TIME) - self.seconds)
        self._since[key] = now

    def stopped(self, key: str) -> None:
        """Stop measuring: the key's queue has nothing more."""
        self._since.pop(key, None)

    def forget(self) -> None:
        """Stop measuring: all queues are gone."""
        self._since.clear()
