"""At most so many calls in a minute and in a day, counted from the journal of calls.

Each gateway reads what all of them have accepted, a moment after it was written. In that moment
two of them could let in the last call each. So a gateway lets in, of what is left, no more than its
part at a time: what others have let in and it has not read yet is in their parts. A part is what is
left by the number of gateways; what a gateway let in counts against its own part for SETTLED
seconds, and for all once it is read.

Why that suffices, for two gateways that read each other's records within SETTLED / 2: take any call
that one lets in. What the other one let in is either read, and so not in what is left; or newer
than SETTLED / 2, and then within the other one's part of what is left without either's newer ones,
whose older ones both have read. Two parts are at most the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from trunkline.gateway.quota.standing import Standing
from trunkline.streams.journal.record import CallRecord

SETTLED = 2.0
"""Seconds after which all gateways have read what one has written, twice over."""
LOST = 60.0
"""Seconds after which a call that was let in and never read was not written."""


class Window(NamedTuple):
    """A window of the calendar, in UTC: each begins where the one before ends."""

    name: str
    seconds: int

    def number(self, at: float) -> int:
        """Which one a moment of epoch seconds is in."""
        return int(at // self.seconds)


MINUTE = Window("minute", 60)
DAY = Window("day", 86_400)
WINDOWS = (MINUTE, DAY)


@dataclass(slots=True)
class _LetIn:
    """A call that this gateway has let in. ``accepted_at``: as its record says, once read."""

    at: float
    units: int
    accepted_at: float | None = None


class JournalCounts:
    """The calls of all clients. For the event loop. ``clock``: epoch seconds; ``cost``: what a call
    of an operation takes, by the topic of its record and its name."""

    def __init__(self, clock: Callable[[], float], cost: Callable[[str, str], int]) -> None:
        self._clock = clock
        self._cost = cost
        self._used: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._let_in: dict[str, dict[str, _LetIn]] = {}  # client → call; the oldest first

    def read(self, topic: str, record: CallRecord) -> None:
        """A call was read for the first time, whoever has accepted it."""
        now, units = self._clock(), self._cost(topic, record.operation)
        for window in WINDOWS:
            number = window.number(record.accepted_at)
            if number >= window.number(now) - 1:  # clocks may differ by a little
                self._used[window.name, number][record.client] += units
        own = self._let_in.get(record.client, {}).get(record.call)
        if own is not None:
            own.accepted_at, own.units = record.accepted_at, units

    def let_in(self, client: str, call: str, units: int) -> None:
        """This gateway accepts a call now."""
        self._let_in.setdefault(client, {}).setdefault(call, _LetIn(self._clock(), units))

    def standing(self, client: str, window: Window, limit: int, part: int, of: int) -> Standing:
        """What this gateway, which is number ``part`` of so many, may let in just now."""
        now = self._clock()
        self._prune(client, now)
        number = window.number(now)
        used, own = self._used.get((window.name, number), {}).get(client, 0), 0
        for one in self._let_in.get(client, {}).values():
            if one.accepted_at is None:
                own += one.units
            elif window.number(one.accepted_at) == number:
                own, used = own + one.units, used - one.units
        left = max(0, limit - used)
        mine = left // of + (part < left % of)
        reset = int((number + 1) * window.seconds - now) + 1
        return Standing(window.name, limit, window.seconds, max(0, mine - own), reset)

    def _prune(self, client: str, now: float) -> None:
        own = self._let_in.get(client, {})
        for call, one in list(own.items()):
            if now - one.at <= SETTLED:
                break
            if one.accepted_at is not None or now - one.at > LOST:
                del own[call]
        if not own:
            self._let_in.pop(client, None)

    def forget(self) -> None:
        """Drop windows that are over. To be called now and then."""
        now, by_name = self._clock(), {window.name: window for window in WINDOWS}
        over = [key for key in self._used if key[1] < by_name[key[0]].number(now) - 1]
        for key in over:
            del self._used[key]
        for client in list(self._let_in):
            self._prune(client, now)
