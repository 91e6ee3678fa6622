"""How a limit is divided: max-min fairness, and turns where there is less than one for each.

Nobody gets more than it wants, nobody who wants more has less than another, and all of it is
given while somebody wants it: water filling (Bertsekas, Gallager: Data Networks, 6.5.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import TypeVar

Id = TypeVar("Id")


def max_min_shares(whole: float, wants: Mapping[Id, float]) -> dict[Id, float]:
    """Each one's share of ``whole``: what it wants, or the level that all who want more have.

    The sum is at most ``whole``; whoever wants something gets something.
    """
    shares: dict[Id, float] = {}
    left, waiting = whole, sorted(wants, key=lambda one: wants[one])
    for index, one in enumerate(waiting):
        shares[one] = min(wants[one], left / (len(waiting) - index))
        left = max(0.0, left - shares[one])
    return shares


def whole_shares(whole: int, wants: Mapping[Id, int], order: Sequence[Id]) -> dict[Id, int]:
    """The same in whole permits. Largest remainders get what is left over, the first in ``order``
    before others; where there are more who want one than permits, the first ones have one each.
    """
    wanting = [one for one in order if wants.get(one, 0) > 0]
    given = dict.fromkeys(wants, 0)
    if len(wanting) >= whole:
        return given | dict.fromkeys(wanting[:whole], 1)
    exact = max_min_shares(whole, {one: wants[one] for one in wanting})
    given |= {one: floor(share + 1e-9) for one, share in exact.items()}
    left = min(whole, sum(wants[one] for one in wanting)) - sum(given.values())
    by_remainder = sorted(wanting, key=lambda one: round(given[one] - exact[one], 9))  # stable
    for one in [one for one in by_remainder if given[one] < wants[one]][:left]:
        given[one] += 1
    return given


@dataclass(frozen=True, slots=True)
class Share:
    """What one gate may do: events per second and calls at a time. None: no such limit."""

    rate: float | None
    calls: int | None


NOTHING = Share(0.0, 0)
