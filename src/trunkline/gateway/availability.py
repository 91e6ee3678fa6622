"""Whether a destination takes calls now, as its workers say in their flow's control topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from trunkline import naming
from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import Problem
from trunkline.streams.control.records import StatusKey
from trunkline.streams.control.status import STALE_AFTER, record_age
from trunkline.times import format_duration

TIMED = ("open", "maintenance")
"""States that end at a time. Once it has come a call is let in: a breaker that nobody asks anything
of would stay open for ever."""
UNTIMED = ("paused", "cannot-open")
RETRY = 30
"""Seconds of ``Retry-After`` where nobody knows when a state ends."""


class Closed(NamedTuple):
    """What a worker says, and in how many seconds to ask again."""

    state: str
    after: float


class Availability:
    """The newest status of each destination in each worker. For the event loop. ``clock``: epoch
    seconds. A worker that has not said anything for 45 seconds is gone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}

    def heard(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of a control topic; those that are no status are nothing to us."""
        name = StatusKey.parse((key or b"").decode(errors="replace"))
        if name is None:
            return
        workers = self._said.setdefault((topic, name.destination), {})
        workers.pop(name.worker, None)
        try:
            found = orjson.loads(value or b"null")
        except ValueError:
            return
        if isinstance(found, dict):
            workers[name.worker] = found

    def _told_of(self, offered: Offered) -> list[Mapping[str, Any]]:
        """What workers that are there say of the destination of an operation."""
        now, topic = self._clock(), naming.control(offered.flow)
        name = naming.destination_of(offered.inbox).removeprefix(f"{offered.flow}.")
        workers = self._said.get((topic, name), {})
        return [said for said in workers.values() if record_age(said, now) <= STALE_AFTER]

    def closed(self, offered: Offered) -> Closed | None:
        """Why nothing is sent to the destination of an operation now; None: it is, as far as is
        known. One worker's word is enough: the system is the same for all."""
        now = self._clock()
        for said in self._told_of(offered):
            state, until = said.get("state"), _moment(said.get("until"))
            if state in UNTIMED:
                return Closed(str(state), until - now if until and until > now else RETRY)
            if state in TIMED and until is not None and until > now:
                return Closed(str(state), until - now)
        return None

    def backlog(self, offered: Offered) -> float:
        """Seconds that the oldest event of an operation's destination has waited, as far as a
        worker has said: it does while that is longer than its operations take calls."""
        return max((_seconds(said.get("oldest")) for said in self._told_of(offered)), default=0.0)

    def require_capacity(self, offered: Offered) -> None:
        """Raise Problem where a new call would wait behind more than its operation allows."""
        most, waited = offered.policy.max_backlog, self.backlog(offered)
        if 0.0 < most < waited:
            raise Problem(
                "temporary-reduced-capacity",
                f"the oldest event waits for {format_duration(waited)}; new calls are taken while "
                f"that is at most {format_duration(most)}",
                headers={"Retry-After": str(RETRY)},
                system=offered.system,
            )

    def require(self, offered: Offered) -> None:
        """Raise Problem where who waits for a call would wait for its system to be up again."""
        if (closed := self.closed(offered)) is not None:
            after = max(1, round(closed.after + 0.5))
            raise Problem(
                "system-unavailable",
                f"nothing is sent to it ({closed.state}): Prefer: respond-async keeps a call",
                headers={"Retry-After": str(after)},
                system=offered.system,
            )


def _seconds(value: Any) -> float:
    return float(value) if type(value) in (int, float) else 0.0


def _moment(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
