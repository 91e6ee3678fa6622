"""Who may use how much of each limit: the log of ``trunkline.limits``, read in order.

Every worker reads the whole log and so keeps the same table; one of them, the coordinator, adds
grants to it. As the log is one partition, everybody reads the same order, and that is what makes
it safe without clocks or locks in common:

- The newest **claim** says who is coordinator; its offset is the number of that term. A grant
  of an older term that stands behind a newer claim is void for every reader, so a coordinator
  that was paused does no harm: it has fenced itself (as KIP-98 fences by epochs).
- A **demand** says what a member wants, what it may be using (``holds``), and up to which grant
  it has read. Grants up to that one are replaced by what it holds; later ones count in full.
- A **grant** names the demand it answers. The member counts the lease (Gray, Cheriton: Leases,
  1989) from when it *sent* that demand, everybody else from when they *read* the grant, which is
  later: so no reader believes a share to be free while somebody may still use it.

No I/O here; times are the reader's own monotonic clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.records import ClientDemand, ClientId, Demand, GrantId

LEASE = 5.0
"""Seconds that a grant may be used, from when its demand was sent."""


@dataclass(slots=True)
class Lease:
    """A share that may be in use until then; calls that began with it end ``grace`` later."""

    grant_id: GrantId
    share: Share
    until: float
    grace: float


@dataclass(slots=True)
class ClientLeases:
    """One client as it last spoke, and everything that it may be using."""

    limit: str
    who: str
    whole: Share
    wants: Share
    request: int
    grace: float
    heard_at: float
    leases: list[Lease] = field(default_factory=list)

    def has(self, now: float) -> Share:
        """At most so much. Neither rate nor calls are None: what has no limit counts as nothing."""
        rates = [lease.share.rate or 0.0 for lease in self.leases if lease.until > now]
        # A call that began in the last moment of a lease ends ``grace`` after it, and until then
        # nobody else may begin one.
        calls = [x.share.calls or 0 for x in self.leases if x.until + x.grace > now]
        return Share(max(rates, default=0.0), max(calls, default=0))

    def wanting(self, now: float) -> Share:
        """What it wants, unless it has been silent for a whole lease."""
        return self.wants if now < self.heard_at + LEASE else NOTHING

    def granted(self, grant_id: GrantId, share: Share, now: float) -> None:
        """A share was granted in addition to what may be in use.

        In addition, since the client may not have read it yet: until it confirms, it uses either.
        """
        self.leases.append(Lease(grant_id, share, now + LEASE, self.grace))

    def confirmed(self, grant_id: GrantId, holds: Share, now: float) -> None:
        """All grants up to ``grant_id`` are replaced by what the client holds."""
        self.leases = [
            lease
            for lease in self.leases
            if lease.grant_id > grant_id and lease.until + lease.grace > now
        ]
        if holds != NOTHING:
            self.granted(grant_id, holds, now)

    def gone(self, now: float) -> bool:
        """Whether it neither uses nor wants anything; or it has not spoken for a whole lease."""
        wants = self.wanting(now)
        return not wants.rate and not wants.calls and self.has(now) == NOTHING


class LeaseTable:
    """What one reader of the log knows. Everything is told in the order of the log.

    ``term``: the offset of the claim that is in force, or None; ``has_no_coordinator``: its last
    one has left, or there never was one.
    """

    def __init__(self) -> None:
        self.term: int | None = None
        self.has_no_coordinator = True
        self._coordinator = ""
        self._clients: dict[str, dict[ClientId, ClientLeases]] = {}  # by limit
        self._requests: dict[str, tuple[int, float]] = {}  # the newest, and when it was read

    def claimed(self, offset: int, member: str) -> None:
        """A member is coordinator from here on in the log."""
        self.term, self._coordinator, self.has_no_coordinator = offset, member, False

    def in_force(self, term: int) -> bool:
        """Whether a grant of that term, read now, is in force."""
        if self.term is None or term > self.term:  # its claim was before what we have read
            self.claimed(term, "")
        return term == self.term

    def demanded(self, now: float, demand: Demand) -> set[str]:
        """A member speaks. Returns the limits that it concerns; none if it is an old demand."""
        if demand.request <= self._requests.get(demand.member, (-1, now))[0]:
            return set()
        self._requests[demand.member] = demand.request, now
        for number, said in demand.clients.items():
            self._spoke(now, ClientId(demand.member, number), demand, said)
        return {said.limit for said in demand.clients.values()}

    def _spoke(self, now: float, client: ClientId, demand: Demand, said: ClientDemand) -> None:
        clients = self._clients.setdefault(said.limit, {})
        known = clients.get(client)
        spoke = clients[client] = ClientLeases(
            limit=said.limit,
            who=said.who,
            whole=said.whole,
            wants=said.wants,
            request=demand.request,
            grace=said.grace,
            heard_at=now,
            leases=known.leases if known else [],
        )
        spoke.confirmed(demand.applied, said.holds, now)

    def granted(
        self, now: float, grant_id: GrantId, client: ClientId, limit: str, share: Share
    ) -> None:
        """A client may use a share. One that nobody has heard of has it all the same: what it
        demanded stands before the part of the log that this reader has read."""
        clients = self._clients.setdefault(limit, {})
        if client not in clients:
            clients[client] = ClientLeases(limit, "", Share(None, None), NOTHING, -1, 0.0, now)
        clients[client].granted(grant_id, share, now)

    def dropped(self, client: ClientId, limit: str) -> None:
        """The coordinator knows that a client uses nothing of a limit any more.

        Why it says so: whoever starts reads grants that are long over, and can only count them
        from when it reads them. A client that was killed minutes ago would have its share for a
        lease and the time of its calls again, and all others that much less.
        """
        self._clients.get(limit, {}).pop(client, None)

    def left(self, member: str) -> set[str]:
        """A member has stopped and uses nothing more. Returns the limits that it concerns."""
        if member == self._coordinator:
            self.has_no_coordinator = True
        limits = {limit for limit, clients in self._clients.items() if _of(member, clients)}
        for limit in limits:
            for client in _of(member, self._clients[limit]):
                del self._clients[limit][client]
        return limits

    @property
    def limits(self) -> set[str]:
        """Every limit that somebody used or wanted."""
        return set(self._clients)

    def clients(self, now: float, limit: str) -> dict[ClientId, ClientLeases]:
        """Everybody who uses or wants some of a limit."""
        clients = self._clients.get(limit, {})
        for client in [client for client, leases in clients.items() if leases.gone(now)]:
            del clients[client]
        if not clients:
            self._clients.pop(limit, None)
        return clients

    def forget(self, now: float) -> None:
        """Drop who is gone, so that the table does not grow with every worker there ever was.

        Its newest request is remembered for a lease more: else an older one, come late, would be
        answered with a share that it claims to hold and has given back. After that the answer is
        void, as its lease is over.
        """
        for limit in list(self._clients):
            self.clients(now, limit)
        here = {client.member for clients in self._clients.values() for client in clients}
        self._requests = {
            member: (request, at)
            for member, (request, at) in self._requests.items()
            if member in here or now < at + LEASE
        }


def _of(member: str, clients: Iterable[ClientId]) -> list[ClientId]:
    return [client for client in clients if client.member == member]


def whole_of(clients: Iterable[ClientLeases]) -> Share:
    """The limit that all of them keep to: the smallest that anybody names."""
    rates = [c.whole.rate for c in clients if c.whole.rate is not None]
    calls = [c.whole.calls for c in clients if c.whole.calls is not None]
    return Share(min(rates, default=None), min(calls, default=None))
