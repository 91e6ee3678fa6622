"""An alarm: what all workers together know of one condition, and who tells people next.

Workers share it through the control topic without a leader: a state-based CRDT (Shapiro et al.,
"Conflict-free Replicated Data Types", 2011). ``joined`` is commutative, associative and
idempotent, so that all workers come to the same alarm in whatever order they read and write.

Who tells is decided by claims. A worker claims the next notice, waits until the others must have
seen that, and sends if the claim is still its own; a claim that is not renewed goes to another.
Pure: no clock, no I/O. Times are epoch seconds, as exact as a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trunkline.streams.alerts.conditions import Observation
from trunkline.streams.alerts.kinds import AlertKind
from trunkline.times import epoch_seconds, iso

Due = Literal["firing", "reminder", "resolved"]

EXPIRES = 60.0
"""Seconds after which a claim that was not renewed is another worker's to take."""

HEARTBEAT = 20.0
"""Seconds after which a worker says again that it still sees the condition."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one worker saw: when last, and the amount then."""

    seen: float
    amount: float

    def merge(self, other: Sighting) -> Sighting:
        """The newer of two sights of one worker."""
        return max(self, other, key=lambda sight: (sight.seen, sight.amount))


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's word that it tells notice number ``notice``. ``turn``: how often that number was
    taken over before; ``at``: when the claim was last renewed."""

    notice: int
    turn: int
    worker: str
    at: float

    def merge(self, other: Claim) -> Claim:
        """The claim that wins: later turns over earlier ones, among equal ones the first name."""
        mine, others = (self.notice, self.turn), (other.notice, other.turn)
        if mine != others:
            return self if mine > others else other
        if self.worker != other.worker:
            return self if self.worker < other.worker else other
        return self if self.at >= other.at else other


@dataclass(frozen=True, slots=True)
class Alarm:
    """One episode of a condition. ``told``: how many notices were sent, ``told_at``: when the
    last one was written."""

    episode: int
    since: float
    sights: Mapping[str, Sighting] = field(default_factory=dict)
    error: str = ""
    error_at: float = 0.0
    notified: int = 0
    notified_at: float = 0.0
    resolved: bool = False
    claim: Claim | None = None

    @property
    def seen(self) -> float:
        """When any worker last saw the condition."""
        return max((sight.seen for sight in self.sights.values()), default=self.since)

    def amount(self, kind: AlertKind) -> float:
        """How many or how long, over all workers."""
        return kind.total(sight.amount for sight in self.sights.values())

    def due(self, now: float, kind: AlertKind, reminder: float) -> Due | None:
        """What people must be told now. ``reminder``: seconds between reminders."""
        if self.resolved:
            return None
        if self.notified == 0:
            return "firing"
        if now - self.seen > kind.quiet:
            return "resolved"
        return "reminder" if now - self.notified_at >= reminder else None

    def is_claimed(self, now: float) -> bool:
        """Whether some worker is about to tell the next notice."""
        claim = self.claim
        return claim is not None and claim.notice > self.notified and now - claim.at <= EXPIRES

    def claimed(self, worker: str, now: float) -> Alarm:
        """With the next notice claimed by this worker, or its claim renewed."""
        old, notice = self.claim, self.notified + 1
        turn = 0
        if old is not None and old.notice == notice:
            turn = old.turn if old.worker == worker else old.turn + 1
        return replace(self, claim=Claim(notice, turn, worker, now))

    def after_telling(self, notice: int, at: float, due: Due) -> Alarm:
        """After notice number ``notice``, written at ``at``, was sent."""
        if notice <= self.notified:
            return self
        resolved = self.resolved or due == "resolved"
        return replace(
            self, notified=notice, notified_at=max(self.notified_at, at), resolved=resolved
        )

    def observed(self, worker: str, seen: Observation, now: float) -> Alarm:
        """With what a worker sees; unchanged if that worker's word is fresh enough."""
        mine = self.sights.get(worker)
        if self.resolved:  # what came after that is a new episode
            new = replace(first_episode(worker, seen), episode=self.episode + 1)
            return new if seen.seen > self.notified_at else self
        if mine is not None and now < mine.seen + HEARTBEAT:
            return self
        return self.caught_up(worker, seen)

    def caught_up(self, worker: str, seen: Observation) -> Alarm:
        """With the newest that a worker sees."""
        return self.merge(replace(first_episode(worker, seen), episode=self.episode))

    def merge(self, other: Alarm) -> Alarm:
        """What both know together; a later episode wins over an earlier one."""
        if self.episode != other.episode:
            return self if self.episode > other.episode else other
        error = max((self.error_at, self.error), (other.error_at, other.error))
        claims = [claim for claim in (self.claim, other.claim) if claim is not None]
        return Alarm(
            self.episode,
            min(self.since, other.since),
            _joined_sights(self.sights, other.sights),
            error[1],
            error[0],
            max(self.notified, other.notified),
            max(self.notified_at, other.notified_at),
            self.resolved or other.resolved,
            claims[0].merge(claims[-1]) if claims else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The value of its control record."""
        value: dict[str, Any] = {
            "state": "resolved" if self.resolved else "firing",
            "episode": self.episode,
            "since": iso(self.since),
            "sent": iso(self.notified_at) if self.notified else None,
            "told": self.notified,
            "error": self.error,
            "error_at": iso(self.error_at) if self.error else None,
            "workers": {
                worker: [iso(sight.seen), sight.amount]
                for worker, sight in sorted(self.sights.items())
            },
        }
        if (claim := self.claim) is not None:
            value["claim"] = [claim.notice, claim.turn, claim.worker, iso(claim.at)]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Alarm:
        """The alarm of a control record. Raises KeyError, TypeError or ValueError for another."""
        claim = value.get("claim")
        return cls(
            value["episode"],
            epoch_seconds(value["since"]),
            {
                w: Sighting(epoch_seconds(seen), amount)
                for w, (seen, amount) in value["workers"].items()
            },
            value["error"],
            epoch_seconds(value["error_at"]),
            value["told"],
            epoch_seconds(value["sent"]),
            value["state"] == "resolved",
            _claim_of(claim) if claim else None,
        )


def first_episode(worker: str, seen: Observation) -> Alarm:
    """The first episode of a condition that this worker sees."""
    sights = {worker: Sighting(seen.seen, seen.amount)}
    return Alarm(1, seen.since, sights, seen.error, seen.error_at if seen.error else 0.0)


def _claim_of(value: Sequence[Any]) -> Claim:
    notice, turn, worker, at = value
    return Claim(notice, turn, worker, epoch_seconds(at))


def _joined_sights(
    one: Mapping[str, Sighting], other: Mapping[str, Sighting]
) -> dict[str, Sighting]:
    both = one.keys() & other.keys()
    return {**one, **other, **{worker: one[worker].merge(other[worker]) for worker in both}}
