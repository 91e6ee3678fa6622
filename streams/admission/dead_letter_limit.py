"""The valve: it shuts when so many events are dead-lettered that something else must be wrong.

A schema that changed or a token that expired makes a destination reject everything. Without a
valve the whole topic would drain into the DLQ while nobody looks, and would have to be re-driven.
"""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.errors import ConfigurationError
from trunkline.streams.admission.door import Door
from trunkline.streams.admission.gate import NEVER
from trunkline.streams.admission.sliding_window import Tally
from trunkline.streams.flow.retry import seconds


@dataclass(frozen=True, slots=True)
class Valve:
    """Deliveries stop when more than ``share`` of the events that ended within ``window`` were
    dead-lettered, of ``minimum`` events or more, until a person has looked.

    The defaults: a cause that concerns everything rejects nearly everything, while bad data of
    one origin, even a burst of it, stays well below half; so a share of 0.5 tells them apart. A
    hundred events are enough to mean it and few enough to look through. At fewer than twenty
    events a minute it never shuts: what a slow feed loses, the alert of the first dead letter
    still tells in time.

    ``window`` is a text as ``"5m"``. Raises ConfigurationError.
    """

    share: float = 0.5
    window: str = "5m"
    minimum: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            wanted = "above 0 and below 1, as 0.5 for half"
            raise ConfigurationError(f"Valve(share={self.share}): must be {wanted}")
        if seconds(self.window) <= 0:
            raise ConfigurationError(f"Valve(window={self.window!r}): must be longer than nothing")
        if self.minimum < 1:
            raise ConfigurationError(f"Valve(minimum={self.minimum}): must be 1 or more events")


class ValveGate(Door):
    """The valve of one destination in one worker: a Gatekeeper that only ``reset`` opens again.

    Whoever delivers reports each event once, to ``finished`` or to ``dead_lettered``.
    """

    def __init__(self, policy: Valve) -> None:
        self._policy = policy
        self._tally = Tally(seconds(policy.window))
        self._closed_since: float | None = None

    @property
    def closed_since(self) -> float | None:
        """When it shut, on the clock of ``now``; None while it is open."""
        return self._closed_since

    def finished(self, now: float, count: int) -> None:
        """So many events were delivered."""
        self._count(now, count, 0)

    def dead_lettered(self, now: float, count: int) -> None:
        """So many events were dead-lettered."""
        self._count(now, count, count)

    def reset(self) -> None:
        """A person has looked: it opens, and what was counted is forgotten."""
        self._closed_since = None
        self._tally.clear()

    def shut_until(self, now: float) -> float | None:
        """NEVER while it is shut."""
        return None if self._closed_since is None else NEVER

    def _count(self, now: float, total: int, bad: int) -> None:
        tally, policy = self._tally, self._policy
        tally.add(now, total, bad)
        too_many = tally.total >= policy.minimum and tally.bad > policy.share * tally.total
        if too_many and self._closed_since is None:
            self._closed_since = now
