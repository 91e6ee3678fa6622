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
from random import Random
from typing import Any

from trunkline.streams.admission.gate import NEVER
from trunkline.streams.quota.coordinator import Coordinator
from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.leases import BEFORE_ALL, LEASE, GrantId, LeaseTable
from trunkline.streams.quota.limiter import QuotaGate

log = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between the demands of a worker that has something to send."""

GAP = 0.05
"""Seconds between demands at least."""

ANSWER_TIMEOUT = 2.0
"""Seconds without an answer after which somebody else must be coordinator, and up to one more, so
that not everybody claims at once. With the lease, a failure is over before shares run out."""

REMEMBERED = 16
"""Demands that an answer may still name: more than fit into a lease."""

Record = dict[str, Any]


@dataclass(slots=True)
class _Own:
    """One gate of this worker. ``told``: what was last asked for and held; None when silent."""

    gate: QuotaGate
    key: str
    who: str
    grace: float
    told: tuple[Share, Share] | None = None


class QuotaMember:
    """The state machine of one worker. Times are its own monotonic clock, in seconds.

    ``member``: a name that no other process has or had. ``read`` takes the log's records in their
    order, ``due`` says what to append, ``next_at`` when to ask that again; ``wake`` is called
    when that is sooner than it was. ``complete``: the log was read to the end that it had at the
    start; before, nothing is asked for.
    """

    def __init__(self, member: str, *, random: Random | None = None) -> None:
        self.member = member
        self.wake: Callable[[], None] = lambda: None
        self.complete = False
        self._random = random or Random()
        self._ledger = LeaseTable()
        self._own: dict[str, _Own] = {}
        self._sent_at: dict[int, float] = {}
        self._request = 0
        self._applied: GrantId = BEFORE_ALL
        self._asked_at = -NEVER
        self._next_beat = NEVER
        self._urgent = False
        self._unanswered: float | None = None
        self._patience = 0.0
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
        number, gate = str(len(self._own)), QuotaGate(whole)
        own = self._own[number] = _Own(gate, key, who, grace)
        gate.on_starved = lambda now: self._short(own, now)
        return gate

    # What the log says.

    def read(self, now: float, offset: int, record: Record) -> None:
        """The next record of the log."""
        if (demand := record.get("demand")) is not None:
            self._changed |= self._ledger.demanded(now, demand)
            self._compare(demand)
        elif (grants := record.get("grants")) is not None:
            if self._ledger.terms(grants["reign"]):
                self._granted(now, grants)
        elif (claim := record.get("claim")) is not None:
            self._claimed(now, offset, claim["member"])
        elif (left := record.get("left")) is not None:
            self._changed |= self._ledger.left(left["member"])
            self._reset_answer_timeout(now)

    def _claimed(self, now: float, offset: int, member: str) -> None:
        self._ledger.claimed(offset, member)
        self._coordinator = None
        self._reset_answer_timeout(now)
        if member == self.member:
            log.info("this worker divides the limits of all workers from now on")
            self._coordinator = Coordinator(self._ledger, offset)
            self._changed = self._ledger.keys

    def _reset_answer_timeout(self, now: float) -> None:
        """Who is coordinator has changed: whoever waits for an answer waits anew."""
        wait = 0.0 if self._ledger.vacant else ANSWER_TIMEOUT
        self._patience = wait + self._random.random() * (1.0 if wait else 0.2)
        if self._unanswered is not None:
            self._unanswered = now

    def _granted(self, now: float, grants: Record) -> None:
        mark = (grants["reign"], grants["number"])
        if mark <= self._applied:  # it was overtaken on its way, or comes twice: void for everybody
            return
        if self._coordinator is not None and self._coordinator.reign != self._ledger.reign:
            self._coordinator = None  # it slept so long that the claim is not in the log any more
        for grant in grants["to"]:
            share = Share(*grant["share"])
            if self._coordinator is None:  # which has written it down before it was sent
                seat = (grant["member"], grant["seat"])
                self._ledger.granted(now, mark, seat, grant["key"], share)
            if grant["member"] == self.member:
                self._apply(now, grant, share)
        self._applied = mark

    def _apply(self, now: float, grant: Record, share: Share) -> None:
        self._unanswered = None
        own, sent_at = self._own[grant["seat"]], self._sent_at.get(grant["request"], -NEVER)
        before = own.gate.share(now)
        own.gate.grant(now, share, sent_at + LEASE, grant["credit"])
        if (share.rate or 0) < (before.rate or 0) or (share.calls or 0) < (before.calls or 0):
            self._send_soon()  # somebody waits for what this gives up

    def _compare(self, demand: Record) -> None:
        """Tell where another destination knows other numbers of the same limit."""
        for said in demand["seats"].values():
            for own in self._own.values():
                same = own.key != said["key"] or own.gate.whole == Share(*said["whole"])
                if not same and (own.who, said["who"]) not in self._warned:
                    self._warned.add((own.who, said["who"]))
                    log.warning(
                        "%s has different limits: %s in %s, %s in %s; the smallest hold, "
                        "so write the same in both",
                        *(own.key, own.gate.whole, own.who, Share(*said["whole"]), said["who"]),
                    )

    # What to say.

    def due(self, now: float) -> list[Record]:
        """What to append to the log now."""
        if not self.complete:
            return []
        records = [*self._decisions(now), *self._claim(now)]
        beat = now >= self._next_beat or (self._urgent and now >= self._asked_at + GAP)
        if beat and (seats := self._seats(now)):
            records.append({"demand": self._demand(now, seats)})
        return records

    def next_at(self, now: float) -> float:
        """When ``due`` may have something to say, if nothing happens until then."""
        if not self.complete:
            return NEVER
        urgent = self._asked_at + GAP if self._urgent else NEVER
        return min(self._next_beat, urgent, self._claims_at())

    def leave(self, now: float) -> list[Record]:
        """Use nothing from now on; what to append, so that others need not wait."""
        for own in self._own.values():
            own.gate.give_back(now)
        return [{"left": {"member": self.member}}]

    def _decisions(self, now: float) -> list[Record]:
        changed, self._changed = self._changed, set()
        if self._coordinator is None or not changed:
            return []
        grants = self._coordinator.decide(now, changed)
        return [{"grants": grants}] if grants else []

    def _claims_at(self) -> float:
        if self._unanswered is None or self._coordinator is not None:
            return NEVER
        return self._unanswered + self._patience

    def _claim(self, now: float) -> list[Record]:
        if now < self._claims_at():
            return []
        self._unanswered = now
        self._patience = ANSWER_TIMEOUT + self._random.random()
        return [{"claim": {"member": self.member}}]

    def _seats(self, now: float) -> Record:
        """What to say for each gate that is not silent; one that is idle says so once."""
        said = {}
        for number, own in self._own.items():
            wants = own.gate.wants(now)
            if wants == NOTHING:
                own.gate.give_back(now)
                if own.told is None:
                    continue
            holds = own.gate.holds(now)
            own.told = None if wants == NOTHING else (wants, holds)
            own.gate.reported(now)
            said[number] = _said(own, wants, holds)
        self._urgent = False
        self._next_beat = now + BEAT if said else NEVER
        return said

    def _demand(self, now: float, seats: Record) -> Record:
        self._ledger.forget(now)
        self._request += 1
        self._sent_at[self._request] = self._asked_at = now
        self._sent_at.pop(self._request - REMEMBERED, None)
        if not any(own.told for own in self._own.values()):
            self._unanswered = None
        elif self._unanswered is None:
            self._unanswered = now
        return {
            "member": self.member,
            "request": self._request,
            "applied": self._applied,
            "seats": seats,
        }

    def _short(self, own: _Own, now: float) -> None:
        """A gate has less than it could use, or uses more than it should."""
        if self._urgent:
            return
        if own.told is None:
            self._send_soon()
            return
        (wanted, held), wants, holds = own.told, own.gate.wants(now), own.gate.holds(now)
        if _exceeds(wants, wanted) or (holds.calls or 0) < (held.calls or 0):
            self._send_soon()

    def _send_soon(self) -> None:
        self._urgent = True
        self.wake()


def _said(own: _Own, wants: Share, holds: Share) -> Record:
    whole = own.gate.whole
    return {
        "key": own.key,
        "who": own.who,
        "whole": [whole.rate, whole.calls],
        "wants": [wants.rate, wants.calls],
        "holds": [holds.rate, holds.calls],
        "grace": own.grace,
    }


def _exceeds(one: Share, other: Share) -> bool:
    return (one.rate or 0) > (other.rate or 0) or (one.calls or 0) > (other.calls or 0)
