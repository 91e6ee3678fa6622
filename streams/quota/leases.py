"""Who may use how much of each limit: the log of ``trunkline.limits``, read in order.

Every worker reads the whole log and so keeps the same ledger; one of them, the coordinator, adds
grants to it. As the log is one partition, everybody reads the same order, and that is what makes
it safe without clocks or locks in common:

- The newest **claim** says who is coordinator; its offset is the number of that reign. A grant
  of an older reign that stands behind a newer claim is void for every reader, so a coordinator
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
from typing import Any

from trunkline.streams.quota.fair_share import NOTHING, Share

LEASE = 5.0
"""Seconds that a grant may be used, from when its demand was sent."""

ClientId = tuple[str, str]
"""Who has a share: a member (one worker process) and the number of its gate there."""

GrantId = tuple[int, int]
"""Names a grant: the reign and the number within it. They grow along the log."""

BEFORE_ALL: GrantId = (-1, -1)


@dataclass(slots=True)
class Held:
    """A share that may be in use until then; calls that began with it end ``grace`` later."""

    mark: GrantId
    share: Share
    until: float
    grace: float


@dataclass(slots=True)
class ClientLease:
    """One seat as it last spoke, and everything that it may be using."""

    key: str
    who: str
    whole: Share
    wants: Share
    request: int
    grace: float
    heard_at: float
    held: list[Held] = field(default_factory=list)

    def has(self, now: float) -> tuple[float, int]:
        """At most so much: events per second, calls at a time."""
        rates = [h.share.rate or 0.0 for h in self.held if h.until > now]
        calls = [h.share.calls or 0 for h in self.held if h.until + h.grace > now]
        return max(rates, default=0.0), max(calls, default=0)

    def wanting(self, now: float) -> Share:
        """What it wants, unless it has been silent for a whole lease."""
        return self.wants if now < self.heard_at + LEASE else NOTHING

    def granted(self, mark: GrantId, share: Share, now: float) -> None:
        """A share was granted in addition to what may be in use."""
        self.held.append(Held(mark, share, now + LEASE, self.grace))

    def confirmed(self, mark: GrantId, holds: Share, now: float) -> None:
        """All grants up to ``mark`` are replaced by what the seat holds."""
        self.held = [h for h in self.held if h.mark > mark and h.until + h.grace > now]
        if holds != NOTHING:
            self.granted(mark, holds, now)

    def gone(self, now: float) -> bool:
        """Whether it neither uses nor wants anything; or it has not spoken for a whole lease."""
        wants = self.wanting(now)
        return not wants.rate and not wants.calls and self.has(now) == (0.0, 0)


class LeaseTable:
    """What one reader of the log knows. Everything is told in the order of the log.

    ``reign``: the offset of the claim that is in force, or None; ``vacant``: whether nobody is
    coordinator, as its last one has left or there never was one.
    """

    def __init__(self) -> None:
        self.reign: int | None = None
        self.vacant = True
        self._coordinator = ""
        self._seats: dict[str, dict[ClientId, ClientLease]] = {}
        self._requests: dict[str, tuple[int, float]] = {}  # the newest, and when it was read

    def claimed(self, offset: int, member: str) -> None:
        """A member is coordinator from here on in the log."""
        self.reign, self._coordinator, self.vacant = offset, member, False

    def terms(self, reign: int) -> bool:
        """Whether a grant of that reign, read now, is in force."""
        if self.reign is None or reign > self.reign:  # its claim was before what we have read
            self.claimed(reign, "")
        return reign == self.reign

    def demanded(self, now: float, demand: dict[str, Any]) -> set[str]:
        """A member speaks. Returns the keys that it concerns; none if it is an old demand."""
        member, request = demand["member"], demand["request"]
        if request <= self._requests.get(member, (-1, now))[0]:
            return set()
        self._requests[member] = request, now
        mark = tuple(demand["applied"])
        return {
            self._spoke(now, (member, number), request, mark, said)
            for number, said in demand["seats"].items()
        }

    def _spoke(
        self, now: float, seat: ClientId, request: int, mark: GrantId, said: dict[str, Any]
    ) -> str:
        key: str = said["key"]
        claimants = self._seats.setdefault(key, {})
        known = claimants.get(seat)
        claimant = claimants[seat] = ClientLease(
            key=key,
            who=said["who"],
            whole=Share(*said["whole"]),
            wants=Share(*said["wants"]),
            request=request,
            grace=said["grace"],
            heard_at=now,
            held=known.held if known else [],
        )
        claimant.confirmed(mark, Share(*said["holds"]), now)
        return key

    def granted(self, now: float, mark: GrantId, seat: ClientId, key: str, share: Share) -> None:
        """A seat may use a share. One that nobody has heard of has it all the same."""
        claimants = self._seats.setdefault(key, {})
        if seat not in claimants:
            claimants[seat] = ClientLease(key, "", Share(None, None), NOTHING, -1, 0.0, now)
        claimants[seat].granted(mark, share, now)

    def left(self, member: str) -> set[str]:
        """A member has stopped and uses nothing more. Returns the keys that it concerns."""
        if member == self._coordinator:
            self.vacant = True
        keys = {key for key, seats in self._seats.items() if _of(member, seats)}
        for key in keys:
            for seat in _of(member, self._seats[key]):
                del self._seats[key][seat]
        return keys

    @property
    def keys(self) -> set[str]:
        """Every limit that somebody used or wanted."""
        return set(self._seats)

    def claimants(self, now: float, key: str) -> dict[ClientId, ClientLease]:
        """Everybody who uses or wants some of a limit."""
        seats = self._seats.get(key, {})
        for seat in [seat for seat, claimant in seats.items() if claimant.gone(now)]:
            del seats[seat]
        if not seats:
            self._seats.pop(key, None)
        return seats

    def forget(self, now: float) -> None:
        """Drop who is gone, so that the ledger does not grow with every worker there ever was.

        Its newest request is remembered for a lease more: else an older one, come late, would be
        answered with a share that it claims to hold and has given back. After that the answer is
        void, as its lease is over.
        """
        for key in list(self._seats):
            self.claimants(now, key)
        here = {member for seats in self._seats.values() for member, _ in seats}
        self._requests = {
            member: (request, at)
            for member, (request, at) in self._requests.items()
            if member in here or now < at + LEASE
        }


def _of(member: str, seats: Iterable[ClientId]) -> list[ClientId]:
    return [seat for seat in seats if seat[0] == member]


def whole_of(claimants: Iterable[ClientLease]) -> Share:
    """The limit that all of them keep to: the smallest that anybody names."""
    rates = [c.whole.rate for c in claimants if c.whole.rate is not None]
    calls = [c.whole.calls for c in claimants if c.whole.calls is not None]
    return Share(min(rates, default=None), min(calls, default=None))
