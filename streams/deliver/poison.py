"""Tells a poison event from an outage: what is learnt from one call, and what from many.

A call that ends as ``Unavailable`` (502, a time-out, a connection that is reset) looks the same
whether the destination is down or one event kills whatever serves it. So:

* From **one call** follows only what happens to its events: they are held in their place, no
  attempt is used up, and the destination gets a short rest.
* From **many calls** follows whether the destination is down, which the circuit breaker counts.
  The failure of an event is a sign of it, until other events were answered between two failures
  of this one: from then on the event is a suspect, and its failures say nothing of the destination.
* From the **calls of other events** follows whether the event is to blame. Between two failures of
  the event a share of the others failed; if the event were like any other, it would have failed by
  that chance. These chances are multiplied (Wald's sequential test, 1945). Once the product is
  below BLAMED, the event's failures count as its own: it uses up attempts, and ends in the
  dead-letter queue.

While nobody is answered every chance is 1, so in an outage nothing is ever blamed. An event that
is alone in its destination cannot be told from an outage, and is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.errors import Unavailable
from trunkline.event import Event
from trunkline.headers import TL_ERROR_CLASS
from trunkline.masking import without_secrets
from trunkline.streams.retry.tiers import failures_of

BLAMED = 1 / 1000
"""The chance, if the event were like any other, below which its failures count as its own."""

SMALLEST = 1 / 20
"""What one failure counts at the least, however many others were answered meanwhile: two
coincidences (a connection that was just closed, a backend that restarts) blame nobody, three do."""

FIRST_REST = 0.2
"""Seconds that a held event rests. How long nothing at all is sent is the gate's affair."""
LONGEST_REST = 5.0
"""Seconds that a suspected event rests at the most, doubled from FIRST_REST with each failure."""
MOST_DOUBLINGS = 16  # far beyond LONGEST_REST, and no number grows without bound
LONGEST_AFTER = 60.0
"""Seconds of a ``Retry-After`` that a suspected event is believed while it is held."""

MAX_ERROR_CHARS = 300
"""Characters of an error that the status shows."""


@dataclass(slots=True)
class HeldEvent:
    """An event that found the destination unavailable, and is tried again in its place.

    ``since``: when it did so first, in epoch seconds; ``times``: how often, in succession;
    ``error``: the last one. ``chance``: that an event like any other had failed as often.
    ``suspicions``: how many of its failures came after another event had been answered;
    ``rests``: how many there were since the first of these.
    """

    event: Event[Any]
    since: float
    times: int
    error: str
    after: float
    chance: float
    suspicions: int = 0
    rests: int = 0
    call: int = 0  # the number of the call in which it failed last
    answered: int = 0  # how many calls had been answered by then


class PoisonDetector:
    """What is known of the events of one destination that are held, in one worker.

    ``key``: names the queue of an event; of each queue only the first event can be under way.
    ``clock``: epoch seconds. No I/O; called in the event loop.
    """

    def __init__(self, key: Callable[[Event[Any]], Hashable], clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._held: dict[Hashable, HeldEvent] = {}
        self._calls = self._answered = 0
        self._failed_calls: Counter[int] = Counter()  # by number: events whose last call that was

    def on_call(self, events: Sequence[Event[Any]], down: Mapping[int, Exception]) -> bool:
        """Learn from a call that is over. ``down``: the errors of those of its ``events`` that
        found the destination unavailable, by index; all others were answered.

        Returns whether the call repeats what is known already: all its events had failed before,
        and either are answered now, or are suspects that failed again.
        """
        self._calls += 1
        if len(down) < len(events):
            self._answered += 1
        if not self._held and not down:
            return False  # nearly every call
        shares: dict[int, float] = {}
        seen: set[Hashable] = set()
        repeats = True
        for index, event in enumerate(events):
            key = self._key(event)
            if key in seen:
                continue  # it stands behind the one of its key that failed
            if index not in down:
                repeats &= self._drop(key)
                continue
            seen.add(key)
            repeats &= self._failed(key, event, down[index], shares)
        return repeats

    def _failed(
        self, key: Hashable, event: Event[Any], error: Exception, shares: dict[int, float]
    ) -> bool:
        """Note a failure; returns whether the event is a suspect."""
        held = self._held.get(key)
        share = 1.0
        if held is None or held.event is not event:
            self._drop(key)
            # One that has used up attempts is no stranger: it needs less proof, and if it did so
            # in the same way, it is a suspect already.
            chance = SMALLEST ** min(failures_of(event), 2)
            suspect = chance < 1 and event.header(TL_ERROR_CLASS) == Unavailable.__name__
            held = HeldEvent(event, self._clock(), 0, "", 0.0, chance, suspicions=int(suspect))
            self._held[key] = held
        else:
            share = shares.get(held.call) or self._share_since(held)
            shares[held.call] = share
            self._count(held.call, -1)
        held.times += 1
        held.suspicions += share < 1
        held.rests += held.suspicions > 0
        held.chance *= share
        held.error = without_secrets(f"{type(error).__name__}: {error}")[:MAX_ERROR_CHARS]
        held.after = getattr(error, "after", None) or 0.0
        held.call, held.answered = self._calls, self._answered
        self._count(held.call, 1)
        return held.suspicions > 0

    def _share_since(self, held: HeldEvent) -> float:
        """The share of other calls that failed since the event did so last (Laplace's rule of
        succession, begun with a failure: that of the event itself)."""
        answered = self._answered - held.answered
        if not answered:
            return 1.0
        # Of an event that fails again and again only its last call is counted: ten poison events
        # that are tried every second do not make each other's failures look common.
        failed = sum(held.call < number < self._calls for number in self._failed_calls)
        return max(SMALLEST, (failed + 1) / (failed + answered + 1))

    def _count(self, call: int, change: int) -> None:
        self._failed_calls[call] += change
        if not self._failed_calls[call]:
            del self._failed_calls[call]

    def _drop(self, key: Hashable) -> bool:
        held = self._held.pop(key, None)
        if held is not None:
            self._count(held.call, -1)
        return held is not None

    def blames(self, event: Event[Any]) -> bool:
        """Whether the event's failures are its own and not the destination's."""
        held = self._held.get(self._key(event))
        return held is not None and held.event is event and held.chance < BLAMED

    def suspects(self, key: Hashable) -> bool:
        """Whether the first event of this queue failed although others were answered. It is sent
        alone from then on, so that it takes nobody with it."""
        held = self._held.get(key)
        return held is not None and held.suspicions > 0

    def rest(self, key: Hashable) -> float:
        """Seconds until the first event of this queue may be tried again."""
        held = self._held.get(key)
        if held is None or not held.suspicions:
            return FIRST_REST
        # Not by its suspicions: a suspect that is left alone gets no more of them, and was called
        # every 0.4 s for as long as nobody else came, 16,000 times in two hours.
        wait: float = min(FIRST_REST * 2 ** min(held.rests, MOST_DOUBLINGS), LONGEST_REST)
        return max(wait, min(held.after, LONGEST_AFTER))

    def forget(self, event: Event[Any]) -> HeldEvent | None:
        """The event is held no more; returns what was known of it."""
        key = self._key(event)
        held = self._held.get(key)
        self._drop(key)
        return held

    def clear(self) -> None:
        """Forget everything: the partitions are another worker's."""
        self._held.clear()
        self._failed_calls.clear()

    def held(self, limit: int) -> list[HeldEvent]:
        """The events that are held, the longest held first, up to ``limit``."""
        return sorted(self._held.values(), key=lambda held: held.since)[:limit]

    def __len__(self) -> int:
        return len(self._held)


class PoisonDetectors:
    """What is known of the held events of one destination: of its sink, and of its enrichment,
    which asks another system. An event is held by one of them, and passes the other each time.

    ``key`` and ``clock`` as for ``PoisonDetector``.
    """

    def __init__(self, key: Callable[[Event[Any]], Hashable], clock: Callable[[], float]) -> None:
        self.key = key
        self.of_sink = PoisonDetector(key, clock)
        self.of_enrichment = PoisonDetector(key, clock)
        self._both = (self.of_sink, self.of_enrichment)

    def blames(self, event: Event[Any]) -> bool:
        """Whether the event's failures are its own and not those of a system."""
        return any(detector.blames(event) for detector in self._both)

    def suspects(self, key: Hashable) -> bool:
        """Whether the first event of this queue failed although others were answered."""
        return any(detector.suspects(key) for detector in self._both)

    def rest(self, key: Hashable) -> float:
        """Seconds until the first event of this queue may be tried again."""
        return max(detector.rest(key) for detector in self._both)

    def forget(self, event: Event[Any]) -> HeldEvent | None:
        """The event is held no more; returns what was known of it."""
        sink, enrichment = (detector.forget(event) for detector in self._both)
        return enrichment or sink

    def clear(self) -> None:
        """Forget everything: the partitions are another worker's."""
        for detector in self._both:
            detector.clear()

    def held(self, limit: int) -> list[HeldEvent]:
        """The events that are held, the longest held first, up to ``limit``."""
        # An event that both hold is one that the sink could not take, and that cannot even be
        # enriched now: the latter is why it is held.
        found = {id(one.event): one for detector in self._both for one in detector.held(limit)}
        return sorted(found.values(), key=lambda held: held.since)[:limit]
