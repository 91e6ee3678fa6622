"""What is left of a client's limits, as answers say it.

Headers after draft-ietf-httpapi-ratelimit-headers-10: two lists of RFC 9651, a member a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.gateway.problems import Problem
from trunkline.streams.journal.record import moment_of

POLICY = "RateLimit-Policy"
LEFT = "RateLimit"


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit of a client. ``name``: second, minute or day; ``window``: seconds; ``left``: units
    that this gateway may let in just now, never more than all of them together may; ``reset``:
    seconds until more is left."""

    name: str
    limit: int
    window: int
    left: int
    reset: int


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """The headers; none for a client without limits."""
    if not standings:
        return {}
    return {
        POLICY: ", ".join(f'"{s.name}";q={s.limit};w={s.window}' for s in standings),
        LEFT: ", ".join(f'"{s.name}";r={s.left};t={s.reset}' for s in standings),
    }


def shown(client: str, standings: Sequence[Standing], now: float) -> dict[str, Any]:
    """The body of ``GET /v1/quota``. ``now``: epoch seconds."""
    limits = [
        {
            "name": s.name,
            "limit": s.limit,
            "window": s.window,
            "used": s.limit - s.left,
            "left": s.left,
            "resets": moment_of(now + s.reset),
        }
        for s in standings
    ]
    return {"client": client, "limits": limits}


def exceeded(standing: Standing, units: int) -> Problem:
    """The problem of a request for which too little is left."""
    detail = f"{standing.limit} in a {standing.name} are allowed, and {standing.left} are left here"
    if units > standing.limit:
        detail = f"it takes {units}, and {standing.limit} in a {standing.name} are allowed"
    wait = {"Retry-After": str(standing.reset)}
    violated: dict[str, Any] = {"violated-policies": [standing.name]}
    return Problem("quota-exceeded", detail, headers=wait, **violated)
