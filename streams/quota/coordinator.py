"""The coordinator of all limits: who gets how much now. No I/O, no threads.

A share grows only by what is free: the whole, less everything that anybody may still be using
according to the ledger. So the total is never more than the whole, whatever was lost or late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from trunkline.streams.quota.fair_share import NOTHING, Share, max_min_shares, whole_shares
from trunkline.streams.quota.leases import ClientId, ClientLease, LeaseTable, whole_of

TURN = 2.0
"""Seconds for which a seat has a permit, where there are more seats that want one than permits."""

LATELY = 2.0
"""Seconds since a seat spoke within which it is offered more without having asked again."""

MUCH = 1.1
"""A share that changes by less is left until its seat asks again."""

Claimants = Mapping[ClientId, ClientLease]


@dataclass(slots=True)
class Reserve:
    """What nobody uses of a rate is saved up, one event at most, for whoever begins: so an event
    after a pause needs not wait until its share has earned one. ``free``: events per second."""

    at: float
    events: float = 0.0
    free: float = 0.0

    def fill(self, now: float) -> None:
        """Add what was free since the last time."""
        self.events = min(1.0, self.events + (now - self.at) * max(0.0, self.free))
        self.at = now

    def take(self) -> float:
        """One event, if it is there."""
        if self.events < 1.0:
            return 0.0
        self.events = 0.0
        return 1.0


@dataclass(slots=True)
class _Limit:
    """What the coordinator remembers of one limit, beside the ledger.

    ``given``: the share that a seat has been given last, and the request that it answered.
    ``turns``: whether a seat has a permit, and since when that is so.
    """

    reserve: Reserve
    whole: Share = NOTHING
    given: dict[ClientId, tuple[int, Share]] = field(default_factory=dict)
    turns: dict[ClientId, tuple[bool, float]] = field(default_factory=dict)


class Coordinator:
    """Answers demands for one reign, named by its claim's offset."""

    def __init__(self, ledger: LeaseTable, reign: int) -> None:
        self.reign = reign
        self._ledger = ledger
        self._numbers = count()
        self._limits: dict[str, _Limit] = {}

    def decide(self, now: float, keys: Iterable[str]) -> dict[str, Any] | None:
        """The grants that follow from what has changed in these limits, as a record for the log."""
        mark = (self.reign, next(self._numbers))
        to = [grant for key in sorted(keys) for grant in self._grants(now, key, mark)]
        return {"reign": mark[0], "number": mark[1], "to": to} if to else None

    def _grants(self, now: float, key: str, mark: tuple[int, int]) -> list[dict[str, Any]]:
        limit = self._limits.setdefault(key, _Limit(Reserve(now)))
        claimants = self._ledger.claimants(now, key)
        limit.reserve.fill(now)
        limit.whole = whole_of(claimants.values()) if claimants else limit.whole
        targets = _targets(now, limit, claimants)
        shares = _within(now, limit.whole, claimants, targets)
        made = []
        for seat in _to_notify(now, limit, claimants, shares, targets):
            made.append(_grant(seat, claimants[seat], shares[seat], limit.reserve, now))
            self._ledger.granted(now, mark, seat, key, shares[seat])
            limit.given[seat] = claimants[seat].request, shares[seat]
        _settle(now, limit, claimants)
        return made


def _targets(now: float, limit: _Limit, claimants: Claimants) -> dict[ClientId, Share]:
    """What each seat should have, in the end."""
    whole = limit.whole
    wants = {seat: claimant.wanting(now) for seat, claimant in claimants.items()}
    rates: Mapping[ClientId, float | None] = dict.fromkeys(wants)
    calls: Mapping[ClientId, int | None] = dict.fromkeys(wants)
    if whole.rate is not None:
        rates = max_min_shares(whole.rate, {seat: want.rate or 0.0 for seat, want in wants.items()})
    if whole.calls is not None:
        order = _permit_order(now, limit, wants)
        calls = whole_shares(whole.calls, {seat: w.calls or 0 for seat, w in wants.items()}, order)
    return {seat: Share(rates[seat], calls[seat]) for seat in wants}


def _settle(now: float, limit: _Limit, claimants: Claimants) -> None:
    """Remember for the next time."""
    used = sum(claimant.has(now)[0] for claimant in claimants.values())
    limit.reserve.free = (limit.whole.rate or 0.0) - used
    limit.given = {seat: given for seat, given in limit.given.items() if seat in claimants}
    before, limit.turns = limit.turns, {}
    for seat in claimants:
        has = bool(limit.given.get(seat, (0, NOTHING))[1].calls)
        had, since = before.get(seat, (has, now))
        limit.turns[seat] = (has, since if has == had else now)


def _permit_order(now: float, limit: _Limit, seats: Iterable[ClientId]) -> list[ClientId]:
    """Who has a permit keeps it for a turn; then come those who have waited, the longest first."""

    def place(seat: ClientId) -> tuple[int, float, ClientId]:
        has, since = limit.turns.get(seat, (False, now))
        rank = 1 if not has else 0 if now - since < TURN else 2
        return rank, since, seat

    return sorted(seats, key=place)


def _within(
    now: float, whole: Share, claimants: Claimants, targets: Mapping[ClientId, Share]
) -> dict[ClientId, Share]:
    """The targets, as far as they are free now. Who uses least is served first.

    Where more seems to be in use than the whole, something of it is not: a grant that was read
    late, a share whose lease is over for its owner. What it is nobody knows, so each seat keeps
    what is surely its own: of what it may be using, all but that excess.
    """
    using = {seat: claimant.has(now) for seat, claimant in claimants.items()}
    rate = (whole.rate or 0.0) - sum(used for used, _ in using.values())
    calls = (whole.calls or 0) - sum(used for _, used in using.values())
    excess, excess_calls = max(0.0, -rate), max(0, -calls)
    shares = {}
    for seat in sorted(claimants, key=lambda seat: using[seat]):
        target = targets[seat]
        rate_used = max(0.0, using[seat][0] - excess)
        calls_used = max(0, using[seat][1] - excess_calls)
        more = min((target.rate or 0.0) - rate_used, max(0.0, rate))
        more_calls = min((target.calls or 0) - calls_used, max(0, calls))
        rate -= max(0.0, more)
        calls -= max(0, more_calls)
        shares[seat] = Share(
            None if target.rate is None else rate_used + more,
            None if target.calls is None else calls_used + more_calls,
        )
    return shares


def _to_notify(
    now: float,
    limit: _Limit,
    claimants: Claimants,
    shares: Mapping[ClientId, Share],
    targets: Mapping[ClientId, Share],
) -> list[ClientId]:
    """Who has asked; who gets more than before; and, if somebody lacks something, who gets less:
    told at once, it is free as soon as that seat confirms, and not only after its next demand."""
    lacking = any(_less(shares[seat], targets[seat]) for seat in claimants)
    told = []
    for seat, claimant in claimants.items():
        request, before = limit.given.get(seat, (-1, NOTHING))
        asked = claimant.request > request and claimant.wanting(now) != NOTHING
        more = _less(before, shares[seat]) and now - claimant.heard_at < LATELY
        if asked or more or (lacking and _less(shares[seat], before)):
            told.append(seat)
    return told


def _less(one: Share, other: Share) -> bool:
    return (one.rate or 0.0) * MUCH < (other.rate or 0.0) or (one.calls or 0) < (other.calls or 0)


def _grant(
    seat: ClientId, claimant: ClientLease, share: Share, reserve: Reserve, now: float
) -> dict[str, Any]:
    begins = bool(share.rate) and claimant.has(now)[0] <= 0
    return {
        "member": seat[0],
        "seat": seat[1],
        "key": claimant.key,
        "request": claimant.request,
        "share": [share.rate, share.calls],
        "credit": reserve.take() if begins else 0.0,
    }
