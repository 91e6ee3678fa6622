"""What is answered, from memory: the newest facts of each step, and what follows of them now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from trunkline.errors import TrunklineError
from trunkline.scaler.demand import KNOWN_FOR, Calendar, Demand, Facts, demand, together
from trunkline.scaler.measured import Lead
from trunkline.scaler.reader import Found, Trouble
from trunkline.scaler.steps import Catalogue, Meant, ScaledStep, StepKey
from trunkline.times import format_duration

log = logging.getLogger(__name__)


class Unknown(TrunklineError):
    """Nothing certain can be said of a step now."""


@dataclass(slots=True)
class _Known:
    """One step. ``facts``: the newest, which may be old."""

    calendar: Calendar
    lead: Lead
    facts: Facts | None = None
    trouble: str = "it was not looked at yet"


class Watch:
    """What one ScaledObject asks about: one step, or all deliveries of a flow.

    ``active``: as of the last tick; None while nothing is known; ``changed``: set when it is
    another, and replaced by a new one then. ``polled_at``: when KEDA asked last; None: never. For
    the event loop only.
    """

    def __init__(self, meant: Meant) -> None:
        self.key, self.keys, self.always = meant
        self.active: bool | None = None
        self.demand = Demand(active=False, wake_at=float("inf"))
        self.polled_at: float | None = None
        self.changed = asyncio.Event()

    def settle(self, found: Demand | None) -> None:
        """Take over what is so now; None: nothing is known. Wakes whoever waits for a change."""
        if found is not None:
            self.demand = found
        active = None if found is None else found.active
        if active != self.active:
            self.active = active
            self.wake()

    def wake(self) -> None:
        """Have whoever waits for a change look again."""
        self.changed.set()
        self.changed = asyncio.Event()


class Watches:
    """All that is answered. ``clock``: epoch seconds; ``lead``: seconds, until it was measured.

    For the event loop only. Nothing in here waits or does I/O.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        clock: Callable[[], float],
        lead: float,
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._known = {step.key: _known(step, lead) for step in catalogue.steps}
        self._watches: dict[StepKey, Watch] = {}

    def take(self, found: Mapping[StepKey, Found]) -> None:
        """Take over what the reader has found, and see what follows."""
        for key, one in found.items():
            known = self._known[key]
            if isinstance(one, Trouble):
                if one.text != known.trouble:
                    log.warning("%s: %s", ".".join(filter(None, key)), one.text)
                known.trouble = one.text
            else:
                known.facts, known.trouble = one, ""
                self._measure(known, one)
        self.tick()

    def failed(self, why: str) -> None:
        """The reader could not look: what was known stays so, for a while."""
        for known in self._known.values():
            known.trouble = why

    def tick(self) -> None:
        """See what has become due. To be called several times a second."""
        now = self._clock()
        for watch in self._watches.values():
            self._settle(watch, now)

    def wake(self) -> None:
        """Have all that wait for changes look again: it ends."""
        for watch in self._watches.values():
            watch.wake()

    def watch(self, metadata: Mapping[str, str]) -> Watch:
        """What a trigger's metadata mean. Raises ConfigurationError."""
        meant = self._catalogue.meant(metadata)
        if meant.key not in self._watches:
            self._watches[meant.key] = Watch(meant)
            self._settle(self._watches[meant.key], self._clock())
        return self._watches[meant.key]

    def answer(self, watch: Watch) -> Demand:
        """What is so now. Raises Unknown: then KEDA leaves everything as it is."""
        now = self._clock()
        self._settle(watch, now)
        if watch.active is None:
            raise Unknown(self._why(watch))
        return watch.demand

    def polled(self, watch: Watch) -> None:
        """KEDA has asked whether it is active, as it does each polling interval."""
        watch.polled_at = self._clock()

    def polled_ones(self) -> list[Watch]:
        """Those that KEDA has asked about."""
        return [watch for watch in self._watches.values() if watch.polled_at is not None]

    def poll_age(self, watch: Watch) -> float:
        """Seconds since KEDA asked about it; infinity if it never has."""
        return self._clock() - watch.polled_at if watch.polled_at is not None else float("inf")

    def age(self) -> float:
        """Seconds since the oldest of the facts that are answered; infinity until all are known."""
        if not self._known:  # flows of sources alone
            return 0.0
        times = [0.0 if one.facts is None else one.facts.at for one in self._known.values()]
        oldest = min(times)
        return self._clock() - oldest if oldest else float("inf")

    def _settle(self, watch: Watch, now: float) -> None:
        was = watch.active
        watch.settle(self._demand(watch, now))
        if watch.active == was:
            return
        for known in (self._known[key] for key in watch.keys):
            if not watch.active:
                known.lead.dropped()
            elif known.facts is not None and not known.facts.members:
                known.lead.wished(now)

    def _demand(self, watch: Watch, now: float) -> Demand | None:
        """None if nothing certain can be said: of several steps, whether none is active."""
        if watch.always:
            return Demand(True, now, 0, 1.0)
        demands: list[Demand] = []
        unknown = False
        for known in (self._known[key] for key in watch.keys):
            if known.facts is None or now - known.facts.at > KNOWN_FOR:
                unknown = True
            else:
                demands.append(demand(known.facts, known.calendar, now, known.lead.seconds))
        whole = together(demands)
        return None if unknown and not whole.active else whole

    def _measure(self, known: _Known, facts: Facts) -> None:
        if facts.members:
            known.lead.running(facts.at)

    def _why(self, watch: Watch) -> str:
        now = self._clock()
        found = list(self._reasons(watch.keys, now))
        return f"{'.'.join(filter(None, watch.key))}: {'; '.join(found)}"

    def _reasons(self, keys: Iterable[StepKey], now: float) -> Iterable[str]:
        for key in keys:
            known = self._known[key]
            if known.facts is None:
                yield known.trouble
            elif now - known.facts.at > KNOWN_FOR:
                yield f"known last {format_duration(now - known.facts.at)} ago: {known.trouble}"


def _known(step: ScaledStep, lead: float) -> _Known:
    windows = () if step.policy is None else step.policy.maintenance
    return _Known(Calendar(windows), Lead(lead))
