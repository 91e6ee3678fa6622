"""What each destination must receive, by the airport's history alone.

Written again on purpose, and not with the flow's routes: a fault in the flow must show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

from trunkline.demo.history import History, State
from trunkline.demo.records import Flight

DELETED = "deleted"
_STATUS = {"S": "scheduled", "D": "departed", "A": "arrived", "X": "cancelled"}


class Expected(NamedTuple):
    """A message by its content, and the moment since when it is due (None: since the start)."""

    content: Hashable
    since: float | None


Expectation = dict[str, list[Expected]]
"""For each key, its messages in their order."""


def content(body: Mapping[str, Any]) -> Hashable:
    """A message's body in a form that can be compared: all of its fields."""
    return tuple(sorted(body.items()))


def alerts(history: History) -> Expectation:
    """Operations: every state of a flight that is more than an hour late."""
    due: Expectation = {}
    for state in _states(history):
        row = state.row
        if row and (minutes := max(row.dep_delay or 0, row.arr_delay or 0)) > 60:
            due.setdefault(row.id, []).append(Expected(_alert(row, minutes), state.since))
    return due


def entries(history: History) -> Expectation:
    """The board: every cancellation, and every notice."""
    due: defaultdict[str, list[Expected]] = defaultdict(list)
    for state in _states(history):
        if state.row and state.row.state == "X":
            due[state.row.id].append(Expected(_cancellation(state.row), state.since))
    for notice, since in history.notices:
        shown = {"id": notice.id, "airport": notice.airport}
        shown |= {"text": notice.text, "severity": notice.severity}
        due[notice.id].append(Expected(content(shown), since))
    return dict(due)


def corrections(history: History) -> Expectation:
    """Operations, of the desk: every call that the gateway has taken, in its order."""
    due: Expectation = {}
    for correction, since in history.corrections:
        body = content(correction._asdict())
        due.setdefault(correction.flight_id, []).append(Expected(body, since))
    return due


def is_correction(body: Mapping[str, Any]) -> bool:
    """Whether a message of operations came from the desk, and not from the flow's routes."""
    return "reason" in body


def rows(history: History) -> Expectation:
    """What the mart must receive: every state of every flight. It may pass over all but the last,
    as a batch writes only the newest state of a row."""
    return {
        id: [Expected(_state(state.row), state.since) for state in states]
        for id, states in history.flights.items()
    }


def written(row: Mapping[str, Any] | None) -> Hashable:
    """A row of the mart in the form that ``rows`` has: what changes in a flight's life."""
    if row is None:
        return DELETED
    names = ("tail_number", "departure_delay_minutes", "arrival_delay_minutes", "air_time_minutes")
    return (row["status"], *(row[name] for name in names))


def _states(history: History) -> Iterator[State]:
    return (state for states in history.flights.values() for state in states)


def _state(row: Flight | None) -> Hashable:
    if row is None:
        return DELETED
    return (_STATUS[row.state], row.tailnum, row.dep_delay, row.arr_delay, row.air_time)


def _alert(row: Flight, minutes: int) -> Hashable:
    return content(
        {
            "flight_id": row.id,
            "carrier": row.carrier,
            "origin": row.origin,
            "destination": row.dest,
            "delay_minutes": minutes,
            "status": _STATUS[row.state],
        }
    )


def _cancellation(row: Flight) -> Hashable:
    text = f"{row.carrier} {row.flight} to {row.dest} is cancelled"
    return content({"id": row.id, "airport": row.origin, "text": text, "severity": "critical"})
