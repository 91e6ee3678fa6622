"""What happens at the airport, and when: every change of every flight, and every notice.

Moments are those of 2013; the play goes through them in their order, faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from zlib import crc32

from trunkline.demo.records import Flight, Sight

PLANNED = timedelta(days=1)
"""How long before its departure a flight is in the schedule."""
WITHDRAWN_OF = 200
"""One flight of so many is taken out of the schedule; half of these come back."""
_LEVELS = ((0.5, "critical"), (2.0, "warning"))


class Change(NamedTuple):
    """A flight's row from this moment on; ``row`` None: it is deleted."""

    moment: datetime
    id: str
    row: Flight | None


class Notice(NamedTuple):
    """What the airport's staff sends to the webhook."""

    moment: datetime
    id: str
    airport: str
    severity: str
    text: str

    def body(self) -> dict[str, str]:
        """The request's JSON."""
        fields = self._asdict()
        return {"issued_at": fields.pop("moment").isoformat(), **fields}


def changes(flights: Iterable[Flight]) -> list[Change]:
    """All changes of these flights in the order of their moments; no two of a flight are equal."""
    return sorted(
        (change for flight in flights for change in _life(flight)), key=lambda c: (c.moment, c.id)
    )


def notices(sights: Iterable[Sight], changes: Iterable[Change]) -> list[Notice]:
    """The weather at each airport in each hour that has changes, in the order of their moments."""
    hours = {change.moment.replace(minute=0) for change in changes}
    return [_notice(sight) for sight in sorted(sights) if sight.moment in hours]


def _life(flight: Flight) -> Iterator[Change]:
    planned = flight._replace(dep_delay=None, arr_delay=None, air_time=None, state="S")
    yield Change(flight.sched_dep - PLANNED, flight.id, planned)
    lot = crc32(flight.id.encode())
    if lot % WITHDRAWN_OF == 0:
        yield Change(flight.sched_dep - PLANNED / 2, flight.id, None)
        if lot % (2 * WITHDRAWN_OF) or flight.tailnum is None:
            return
        again = planned._replace(tailnum=None)  # which aircraft will fly it is not known yet
        yield Change(flight.sched_dep - PLANNED / 4, flight.id, again)
    yield from _flown(flight, planned)


def _flown(flight: Flight, planned: Flight) -> Iterator[Change]:
    if flight.dep_delay is None:
        cancelled = planned._replace(state="X")
        yield Change(flight.sched_dep - timedelta(hours=1), flight.id, cancelled)
        return
    departed = planned._replace(dep_delay=flight.dep_delay, state="D")
    yield Change(flight.sched_dep + timedelta(minutes=flight.dep_delay), flight.id, departed)
    if flight.arr_delay is not None:
        yield Change(flight.sched_arr + timedelta(minutes=flight.arr_delay), flight.id, flight)


def _notice(sight: Sight) -> Notice:
    severity = next((level for miles, level in _LEVELS if sight.miles <= miles), "info")
    advice = "flights as planned" if severity == "info" else "expect delays"
    return Notice(
        sight.moment,
        f"{sight.airport}-weather-{sight.moment:%Y-%m-%d}",
        sight.airport,
        severity,
        f"{sight.moment:%H:%M} visibility {sight.miles:g} miles, {advice}",
    )
