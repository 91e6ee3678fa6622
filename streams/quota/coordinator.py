"""The coordinator of all limits: who gets how much now. No I/O, no threads.

A share grows only by what is free: the whole, less everything that anybody may still be using
according to the lease table. So the total is never more than the whole, whatever was lost or late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

from trunkline.streams.quota.fair_share import NOTHING, Share, max_min_shares, whole_shares
from trunkline.streams.quota.leases import ClientLeases, LeaseTable, whole_of
from trunkline.streams.quota.records import ClientId, Grant, GrantId, Grants

PERMIT_TIME = 2.0
"""Seconds for which a client keeps a permit, where more clients want one than there are permits."""

RECENTLY = 2.0
"""Seconds since a client spoke within which it is offered more without having asked again."""

NOTABLE_CHANGE = 1.1
"""A share that changes by less is left until its client asks again."""

Clients = Mapping[ClientId, ClientLeases]


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
    """What the coordinator remembers of one limit, beside the leases.

    ``given``: the share that a client has been given last, and the request that it answered.
    ``permits``: whether a client has one, and since when that is so.
    """

    reserve: Reserve
    whole: Share = NOTHING
    given: dict[ClientId, tuple[int, Share]] = field(default_factory=dict)
    permits: dict[ClientId, tuple[bool, float]] = field(default_factory=dict)


class Coordinator:
    """Answers demands for one term, named by its claim's offset."""

    def __init__(self, leases: LeaseTable, term: int) -> None:
        self.term = term
        self._leases = leases
        self._numbers = count()
        self._limits: dict[str, _Limit] = {}

    def decide(self, now: float, changed: Iterable[str]) -> Grants | None:
        """The grants that follow from what has changed in these limits, as a record for the log."""
        id = GrantId(self.term, next(self._numbers))
        grants: list[Grant] = []
        gone: list[tuple[ClientId, str]] = []
        for key in sorted(changed):
            grants += self._grants(now, key, id, gone)
        return Grants(id, grants, gone) if grants or gone else None

    def _grants(
        self, now: float, key: str, id: GrantId, gone: list[tuple[ClientId, str]]
    ) -> list[Grant]:
        limit = self._limits.setdefault(key, _Limit(Reserve(now)))
        clients = self._leases.clients(now, key)
        gone += [(client, key) for client in limit.permits if client not in clients]
        limit.reserve.fill(now)
        limit.whole = whole_of(clients.values()) if clients else limit.whole
        targets = _targets(now, limit, clients)
        shares = _within(now, limit.whole, clients, targets)
        made = []
        for client in _to_notify(now, limit, clients, shares, targets):
            made.append(_grant(client, clients[client], shares[client], limit.reserve, now))
            # Noted before it is sent: should it be lost, the share counts as used for a lease.
            self._leases.granted(now, id, client, key, shares[client])
            limit.given[client] = clients[client].request, shares[client]
        _settle(now, limit, clients)
        return made


def _targets(now: float, limit: _Limit, clients: Clients) -> dict[ClientId, Share]:
    """What each client should have, in the end."""
    whole = limit.whole
    wants = {client: leases.wanting(now) for client, leases in clients.items()}
    rates: Mapping[ClientId, float | None] = dict.fromkeys(wants)
    calls: Mapping[ClientId, int | None] = dict.fromkeys(wants)
    if whole.rate is not None:
        rates = max_min_shares(whole.rate, {c: want.rate or 0.0 for c, want in wants.items()})
    if whole.calls is not None:
        order = _permit_order(now, limit, wants)
        calls = whole_shares(whole.calls, {c: want.calls or 0 for c, want in wants.items()}, order)
    return {client: Share(rates[client], calls[client]) for client in wants}


def _settle(now: float, limit: _Limit, clients: Clients) -> None:
    """Remember for the next time."""
    used = sum(leases.has(now).rate or 0.0 for leases in clients.values())
    limit.reserve.free = (limit.whole.rate or 0.0) - used
    limit.given = {client: given for client, given in limit.given.items() if client in clients}
    before, limit.permits = limit.permits, {}
    for client in clients:
        has = bool(limit.given.get(client, (0, NOTHING))[1].calls)
        had, since = before.get(client, (has, now))
        limit.permits[client] = (has, since if has == had else now)


def _permit_order(now: float, limit: _Limit, clients: Iterable[ClientId]) -> list[ClientId]:
    """Who has a permit keeps it for a while; then come those who have waited, the longest first."""

    def rank(client: ClientId) -> tuple[int, float, ClientId]:
        has, since = limit.permits.get(client, (False, now))
        group = 1 if not has else 0 if now - since < PERMIT_TIME else 2
        return group, since, client

    return sorted(clients, key=rank)


def _within(
    now: float, whole: Share, clients: Clients, targets: Mapping[ClientId, Share]
) -> dict[ClientId, Share]:
    """The targets, as far as they are free now. Who uses least is served first.

    Clients together may seem to use more than the whole, because a grant was read late or a lease
    is over for its owner already. Which of them uses less is not known, so each client is sure
    only of what it seems to use less the whole excess. Example: of 10 calls A seems to use 8 and
    B 4, an excess of 2. A is sure of 6 and B of 2; what they get beyond must be free.
    """
    has = {client: leases.has(now) for client, leases in clients.items()}
    using = {client: (share.rate or 0.0, share.calls or 0) for client, share in has.items()}
    rate = (whole.rate or 0.0) - sum(used for used, _ in using.values())
    calls = (whole.calls or 0) - sum(used for _, used in using.values())
    excess, excess_calls = max(0.0, -rate), max(0, -calls)
    shares = {}
    for client in sorted(clients, key=lambda client: using[client]):
        target = targets[client]
        rate_used = max(0.0, using[client][0] - excess)
        calls_used = max(0, using[client][1] - excess_calls)
        more = min((target.rate or 0.0) - rate_used, max(0.0, rate))
        more_calls = min((target.calls or 0) - calls_used, max(0, calls))
        rate -= max(0.0, more)
        calls -= max(0, more_calls)
        shares[client] = Share(
            None if target.rate is None else rate_used + more,
            None if target.calls is None else calls_used + more_calls,
        )
    return shares


def _to_notify(
    now: float,
    limit: _Limit,
    clients: Clients,
    shares: Mapping[ClientId, Share],
    targets: Mapping[ClientId, Share],
) -> list[ClientId]:
    """Who has asked; who gets more than before; and, if somebody lacks something, who gets less:
    told at once, it is free as soon as that client confirms, and not only after its next demand."""
    lacking = any(_less(shares[client], targets[client]) for client in clients)
    notified = []
    for client, leases in clients.items():
        request, before = limit.given.get(client, (-1, NOTHING))
        asked = leases.request > request and leases.wanting(now) != NOTHING
        more = _less(before, shares[client]) and now - leases.heard_at < RECENTLY
        if asked or more or (lacking and _less(shares[client], before)):
            notified.append(client)
    return notified


def _less(one: Share, other: Share) -> bool:
    slower = (one.rate or 0.0) * NOTABLE_CHANGE < (other.rate or 0.0)
    return slower or (one.calls or 0) < (other.calls or 0)


def _grant(
    client: ClientId, leases: ClientLeases, share: Share, reserve: Reserve, now: float
) -> Grant:
    begins = bool(share.rate) and not leases.has(now).rate
    credit = reserve.take() if begins else 0.0
    return Grant(client, leases.limit, leases.request, share, credit)
