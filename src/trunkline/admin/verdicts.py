"""What of a flow's figures is a trouble, since when, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trunkline.admin.health import (
    DestinationFigures,
    FlowFigures,
    LetterFigures,
    RoutingFigures,
    SourceFigures,
)
from trunkline.admin.measures import Measure, age
from trunkline.admin.status import WorkerStatus
from trunkline.streams.control.status import SILENT_AFTER
from trunkline.times import format_duration, iso

LATE = 60.0
"""Seconds after which what waits is late. Less is what a rebalance or a slow batch takes."""

CLEAR = ("closed", "throttled", "slow-start")
"""States of a destination that are on their way to be well, by themselves."""
PLANNED = ("paused", "maintenance")
"""States that somebody wanted."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not well. ``where``: ``flow``, or ``flow.part``; ``what`` is the matter;
    ``since`` when (ISO 8601), None where nobody knows; ``mend``: what to do. ``urgent``: events do
    not move, and do not go on by themselves; else it is worth knowing."""

    where: str
    what: str
    mend: str
    since: str | None = None
    urgent: bool = True


def troubles(figures: FlowFigures) -> list[Trouble]:
    """Everything that is not well with a flow, what is urgent first; [] if all is well. Blocks
    nobody, writes nothing, raises nothing."""
    found = [one for source in figures.sources for one in _of_source(source, figures.at)]
    if figures.routing is not None:
        found += _of_routing(figures.flow, figures.routing, figures.at)
    for destination in figures.destinations:
        found += _of_destination(destination, figures.at)
    return sorted(found, key=lambda one: not one.urgent)


def _of_source(source: SourceFigures, now: float) -> Iterator[Trouble]:
    found, status = source.overview, source.overview.status
    where = str(found.target)
    state = status.state if status is not None and not status.stale else ""
    since = status.since if status is not None else None
    error = f": {status.error}" if status is not None and status.error else ""
    check = "trunkline source check FLOW.py says what its system lacks"
    if found.in_force == "paused":
        by = f" by {found.override.by}" if found.override.by else ""
        why = f": {found.override.why}" if found.override.why else ""
        mend = f"when that is over: trunkline source resume {where}"
        yield Trouble(where, f"paused{by}{why}", mend, found.override.at or None, urgent=False)
    elif state == "stopped":
        yield Trouble(where, f"stopped, a person must mend something{error}", check, since)
    elif state == "dead-letter-limit":
        mend = f"trunkline dlq group {where}; then trunkline source resume {where}"
        yield Trouble(where, f"too much cannot be mapped, nothing is read{error}", mend, since)
    elif state == "failing":
        yield Trouble(where, f"it cannot be read{error}", f"mend its system; {check}", since)
    elif not found.members and state not in ("listening", "ended"):
        stored = None if found.stored_at is None else iso(found.stored_at.timestamp())
        mend = "trunkline run FLOW.py --only source"
        yield Trouble(where, "no worker runs it", mend, stored)
    elif state and (found.late or 0.0) > LATE:
        late = format_duration(found.late or 0.0)
        mend = f"trunkline source status {where} shows its progress"
        begun = None if status is None else status.late_since
        yield Trouble(where, f"{late} behind its system", mend, begun, urgent=False)
    if state:
        assert status is not None
        for gauge in status.gauges:
            if gauge.warning:
                yield Trouble(where, gauge.warning, check, urgent=False)
    for snapshot in found.snapshots:
        if snapshot.state == "failed":
            what = f"snapshot {snapshot.id} of {snapshot.table} failed: {snapshot.error}"
            mend = f"ask for it again: trunkline source snapshot {where} --table {snapshot.table}"
            yield Trouble(where, what, mend, snapshot.at or None, urgent=False)
    yield from _of_letters(where, source.letters)


def _of_routing(flow: str, routing: RoutingFigures, now: float) -> Iterator[Trouble]:
    told = [one for one in routing.workers if not one.stale]
    held = [event for worker in told for event in worker.held]
    measure = routing.all
    for event in held[:1]:
        what = f"{event.place} cannot be routed for now: {event.error}"
        yield Trouble(
            flow, what, "mend what the error names; routing goes on by itself", event.since or None
        )
    if not routing.members:
        mend = "trunkline run FLOW.py --only route"
        yield Trouble(flow, f"no worker routes it{_waits(measure)}", mend, _iso(measure.oldest))
    elif not held:
        yield from _lateness(flow, "routed", measure, "more workers route more", now)


def _of_destination(destination: DestinationFigures, now: float) -> Iterator[Trouble]:
    found, where = destination.overview, str(destination.overview.target)
    told = [one for one in found.workers if not one.stale]
    waiting = destination.inbox
    if found.in_force == "paused":
        by = f" by {found.override.by}" if found.override.by else ""
        why = f": {found.override.why}" if found.override.why else ""
        mend = f"when that is over: trunkline destination resume {where}"
        what = f"paused{by}{why}{_waits(waiting)}"
        yield Trouble(where, what, mend, found.override.at or None, urgent=False)
    elif not found.members:
        last = max(found.workers, key=lambda one: one.at, default=None)
        since = last.at if last is not None else _iso(waiting.oldest)
        what = f"no worker delivers to it{_waits(waiting)}"
        yield Trouble(where, what, "trunkline run FLOW.py --only deliver", since)
    else:
        trouble = _worst(where, told, destination)
        if trouble is not None:
            yield trouble
        elif not any(one.state in (*PLANNED, *CLEAR) for one in told):
            mend = f"trunkline destination status {where}; more workers deliver more"
            yield from _lateness(where, "delivered", waiting, mend, now)
    yield from _of_letters(where, destination.letters)


_STATES = {
    "open": ("its system is down, nothing is sent", "mend its system; it drains by itself"),
    "half-open": ("its system is down, it is probed", "mend its system; it drains by itself"),
    "cannot-open": ("it cannot be opened", "mend what the reason names; it is tried again"),
    "holding": ("single events find it unavailable", "trunkline destination status {}"),
    "halted": ("keys wait for a person", "trunkline dlq list {}; then dlq redrive or discard"),
    "dead-letter-limit": (
        "too much is dead-lettered, nothing is sent",
        "trunkline dlq group {}; then trunkline destination resume {}",
    ),
    "maintenance": ("in a maintenance window", "it goes on by itself when the window ends"),
}
_GRAVEST = ("dead-letter-limit", "cannot-open", "open", "half-open", "halted", "holding")


def _worst(
    where: str, told: Sequence[WorkerStatus], destination: DestinationFigures
) -> Trouble | None:
    """The gravest thing that workers tell; the earliest time of it, and a reason that is known."""
    states = {one.state for one in told}
    state = next((one for one in (*_GRAVEST, "maintenance") if one in states), None)
    if state is None:
        return None
    same = [one for one in told if one.state == state]
    what, mend = _STATES[state]
    keys = sum(one.halted_keys for one in same)
    if state == "halted":
        what = f"{keys} {'key waits' if keys == 1 else 'keys wait'} for a person"
    errors = [one.why for one in same if one.why]
    errors += [event.error for one in same for event in (*one.held, *one.halted)]
    errors += [destination.retries.error] if destination.retries.error else []
    reason = f": {errors[0]}" if errors else ""
    since = min((one.since for one in same if one.since), default=None)
    what = f"{what}{reason}{_silence(same)}{_waits(destination.inbox)}"
    return Trouble(where, what, mend.format(where, where), since, urgent=state != "maintenance")


def _silence(told: Sequence[WorkerStatus]) -> str:
    """When they were last heard, if all of them should have told more since: what a killed worker
    told is maybe over."""
    last = min(told, key=lambda one: one.age)
    if last.age < SILENT_AFTER:
        return ""
    return f"; last heard of {last.worker} {format_duration(round(last.age))} ago"


def _lateness(where: str, done: str, measure: Measure, mend: str, now: float) -> Iterator[Trouble]:
    late = age(measure.oldest, now)
    if late > LATE:
        what = f"the oldest event that is not {done} is {format_duration(late)} old"
        what = f"{what}{_waits(measure)}"
        yield Trouble(where, what, mend, _iso(measure.oldest), urgent=False)


def _of_letters(where: str, letters: LetterFigures) -> Iterator[Trouble]:
    if not letters.count:
        return
    many = f"{letters.count:,}{'' if letters.exact else ' or more'}"
    what = f"{many} dead letter{'' if letters.count == 1 and letters.exact else 's'}"
    newest = "" if letters.newest is None else iso(letters.newest.timestamp())[:19] + "Z"
    what = f"{what} that nobody has handled, the newest of {newest}: {letters.error}"
    mend = f"trunkline dlq group {where}; then dlq redrive or discard"
    yield Trouble(where, what, mend, urgent=False)


def _waits(measure: Measure) -> str:
    if not measure.waiting:
        return ""
    bound = "" if measure.exact else "at most "
    return f"; {bound}{measure.waiting:,} event{'s wait' if measure.waiting > 1 else ' waits'}"


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)
