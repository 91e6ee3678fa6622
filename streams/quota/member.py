"""One worker's part in dividing the limits: what it asks for, what it was granted, and the
coordinator's work where it falls to this one. No I/O: records in, records out.

A worker whose destinations are idle is silent. One with something to send asks once a second, and
at once where that lets somebody begin sooner. Who gets no answer claims to be coordinator: any
worker can, at any moment, since it has read all that the one before it granted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random

from trunkline.streams.admission.gate import NEVER
from trunkline.streams.quota.coordinator import Coordinator
from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.leases import LEASE, LeaseTable
from trunkline.streams.quota.limiter import QuotaGate
from trunkline.streams.quota.records import (
    BEFORE_ALL,
    Candidacy,
    ClientDemand,
    Demand,
    Grant,
    GrantId,
    Grants,
    Left,
    QuotaRecord,
)

log = logging.getLogger(__name__)

DEMAND_INTERVAL = 1.0
"""Seconds between the demands of a worker that has something to send."""

SHORTEST_INTERVAL = 0.05
"""Seconds between demands at least."""

ANSWER_TIMEOUT = 2.0
"""Seconds without an answer after which somebody else must be coordinator, and up to one more, so
that not everybody claims at once. With the lease, a failure is over before shares run out."""

REMEMBERED = 16
"""Demands that an answer may still name: more than fit into a lease."""


@dataclass(slots=True)
class _Client:
    """One gate of this worker, under the limit that its key names. ``demanded``: what was last
    asked for and held; None when silent."""

    gate: QuotaGate
    limit: str
    who: str
    grace: float
    demanded: tuple[Share, Share] | None = None


class QuotaMember:
    """The state machine of one worker. Times are its own monotonic clock, in seconds.

    ``member``: a name that no other process has or had. ``read`` takes the log's records in their
    order, ``due`` says what to append, ``next_at`` when to ask that again; ``wake`` is called
    when that is sooner than it was. ``complete``: the log was read to the end that it had at the
    start; before, nothing is asked for. ``compares``: log where others know another whole.
    """

    def __init__(self, member: str, *, random: Random | None = None, compares: bool = True) -> None:
        self.member = member
        self.wake: Callable[[], None] = lambda: None
        self.complete = False
        self._random = random or Random()
        self._leases = LeaseTable()
        self._compares = compares
        self._clients: dict[str, _Client] = {}
        self._numbers = count()
        self._sent_at: dict[int, float] = {}
        self._request = 0
        self._applied: GrantId = BEFORE_ALL
        self._asked_at = -NEVER
        self._next_demand_at = NEVER
        self._urgent = False
        self._unanswered: float | None = None
        self._answer_timeout = 0.0
        self._coordinator: Coordinator | None = None
        self._changed: set[str] = set()
        self._warned: set[tuple[str, str]] = set()

    @property
    def coordinates(self) -> bool:
        """Whether this worker is the coordinator, as far as it has read."""
        return self._coordinator is not None

    def register(self, key: str, whole: Share, *, who: str, grace: float) -> QuotaGate:
        """A gate for one destination (``who``) under the limit ``key``. ``grace``: seconds that a
        call may last."""
        number, gate = str(next(self._numbers)), QuotaGate(whole)
        client = self._clients[number] = _Client(gate, key, who, grace)
        gate.on_starved = lambda now: self._starved(client, now)
        return gate

    def unregister(self, gate: QuotaGate) -> bool:
        """Forget a gate that is silent; False: it is in use, or others believe that it is."""
        silent = (n for n, c in self._clients.items() if c.gate is gate and c.demanded is None)
        return self._clients.pop(next(silent, ""), None) is not None

    def changed(self, gate: QuotaGate) -> None:
        """The whole of a gate's limit is another one now: others are told at once."""
        if any(client.gate is gate and client.demanded for client in self._clients.values()):
            self._send_soon()

    def sharers(self, now: float, key: str) -> list[str]:
        """The members that use or want some of a limit, sorted, as far as the log was read."""
        return sorted({client.member for client in self._leases.clients(now, key)})

    # What the log says.

    def read(self, now: float, offset: int, record: QuotaRecord) -> None:
        """The next record of the log."""
        match record:
            case Demand():
                self._changed |= self._leases.demanded(now, record)
                self._compare(record)
            case Grants():
                # A term is the offset of its claim, so it stands before. A larger one is no
                # coordinator's, and believing it would void every grant from then on.
                if record.id.term < offset and self._leases.in_force(record.id.term):
                    self._granted(now, record)
            case Candidacy():
                self._claimed(now, offset, record.member)
            case Left():
                self._changed |= self._leases.left(record.member)
                self._reset_answer_timeout(now)

    def _claimed(self, now: float, offset: int, member: str) -> None:
        self._leases.claimed(offset, member)
        self._coordinator = None
        self._reset_answer_timeout(now)
        if member == self.member:
            log.info("this worker divides the limits of all workers from now on")
            self._coordinator = Coordinator(self._leases, offset)
            self._changed = self._leases.limits

    def _reset_answer_timeout(self, now: float) -> None:
        """Begin the wait for an answer again, since another worker is the coordinator now: a demand
        that the former one has not answered is not yet late for this one."""
        wait = 0.0 if self._leases.has_no_coordinator else ANSWER_TIMEOUT
        self._answer_timeout = wait + self._random.random() * (1.0 if wait else 0.2)
        if self._unanswered is not None:
            self._unanswered = now

    def _granted(self, now: float, granted: Grants) -> None:
        if granted.id <= self._applied:
            return  # it was overtaken on its way, or comes twice: void for everybody
        if self._coordinator is not None and self._coordinator.term != self._leases.term:
            self._coordinator = None  # it slept so long that the claim is not in the log any more
        for grant in granted.grants:
            if self._coordinator is None:  # which has written it down before it was sent
                self._leases.granted(now, granted.id, grant.client, grant.limit, grant.share)
            if grant.client.member == self.member:
                self._apply(now, grant)
        if self._coordinator is None:
            for client, limit in granted.gone:
                self._leases.dropped(client, limit)
        self._applied = granted.id

    def _apply(self, now: float, grant: Grant) -> None:
        self._unanswered = None
        client = self._clients.get(grant.client.client)
        if client is None or client.limit != grant.limit:
            return  # this worker has no such gate: no coordinator's grant, and not ours to use
        # The lease counts from when we asked, and a request that we do not remember is over.
        sent_at = self._sent_at.get(grant.request, -NEVER)
        before = client.gate.share(now)
        client.gate.grant(now, grant.share, sent_at + LEASE, grant.credit)
        if _exceeds(before, grant.share):
            self._send_soon()  # somebody waits for what this gives up

    def _compare(self, demand: Demand) -> None:
        """Tell where another destination knows other numbers of the same limit."""
        for said in demand.clients.values() if self._compares else ():
            for own in self._clients.values():
                same = own.limit != said.limit or own.gate.whole == said.whole
                if not same and (own.who, said.who) not in self._warned:
                    self._warned.add((own.who, said.who))
                    log.warning(
                        "%s has different limits: %s in %s, %s in %s; the smallest hold, "
                        "so write the same in both",
                        *(own.limit, own.gate.whole, own.who, said.whole, said.who),
                    )

    # What to say.

    def due(self, now: float) -> list[QuotaRecord]:
        """What to append to the log now."""
        if not self.complete:
            return []
        records = [*self._decisions(now), *self._claim(now)]
        soon = self._urgent and now >= self._asked_at + SHORTEST_INTERVAL
        if (soon or now >= self._next_demand_at) and (clients := self._client_demands(now)):
            records.append(self._demand(now, clients))
        return records

    def next_at(self, now: float) -> float:
        """When ``due`` may have something to say, if nothing happens until then."""
        if not self.complete:
            return NEVER
        urgent = self._asked_at + SHORTEST_INTERVAL if self._urgent else NEVER
        return min(self._next_demand_at, urgent, self._claims_at())

    def leave(self, now: float) -> list[QuotaRecord]:
        """Use nothing from now on; what to append, so that others need not wait."""
        for client in self._clients.values():
            client.gate.give_back(now)
        return [Left(self.member)]

    def _decisions(self, now: float) -> list[QuotaRecord]:
        changed, self._changed = self._changed, set()
        if self._coordinator is None or not changed:
            return []
        grants = self._coordinator.decide(now, changed)
        return [grants] if grants else []

    def _claims_at(self) -> float:
        if self._unanswered is None or self._coordinator is not None:
            return NEVER
        return self._unanswered + self._answer_timeout

    def _claim(self, now: float) -> list[QuotaRecord]:
        if now < self._claims_at():
            return []
        self._unanswered = now
        self._answer_timeout = ANSWER_TIMEOUT + self._random.random()
        return [Candidacy(self.member)]

    def _client_demands(self, now: float) -> dict[str, ClientDemand]:
        """What to say for each gate that is not silent; one that is idle says so once."""
        demands = {}
        for number, client in self._clients.items():
            wants = client.gate.wants(now)
            if wants == NOTHING:
                client.gate.give_back(now)
                if client.demanded is None:
                    continue
            holds = client.gate.holds(now)
            client.demanded = None if wants == NOTHING else (wants, holds)
            client.gate.reported(now)
            demands[number] = ClientDemand(
                client.limit, client.who, client.gate.whole, wants, holds, client.grace
            )
        self._urgent = False
        self._next_demand_at = now + DEMAND_INTERVAL if demands else NEVER
        return demands

    def _demand(self, now: float, clients: dict[str, ClientDemand]) -> Demand:
        self._leases.forget(now)
        self._request += 1
        self._sent_at[self._request] = self._asked_at = now
        self._sent_at.pop(self._request - REMEMBERED, None)
        if not any(client.demanded for client in self._clients.values()):
            self._unanswered = None
        elif self._unanswered is None:
            self._unanswered = now
        return Demand(self.member, self._request, self._applied, clients)

    def _starved(self, client: _Client, now: float) -> None:
        """A gate has less than it could use, or uses more than it should."""
        if self._urgent:
            return
        if client.demanded is None:
            self._send_soon()
            return
        wanted, held = client.demanded
        wants, holds = client.gate.wants(now), client.gate.holds(now)
        if _exceeds(wants, wanted) or (holds.calls or 0) < (held.calls or 0):
            self._send_soon()

    def _send_soon(self) -> None:
        self._urgent = True
        self.wake()


def _exceeds(one: Share, other: Share) -> bool:
    return (one.rate or 0) > (other.rate or 0) or (one.calls or 0) > (other.calls or 0)
