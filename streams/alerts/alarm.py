"""An alarm: what all workers together know of one condition, and who notifies people next.

Workers share it through the control topic without a leader: a state-based CRDT (Shapiro et al.,
"Conflict-free Replicated Data Types", 2011). ``merge`` is commutative, associative and idempotent,
so that all workers come to the same alarm in whatever order they read and write.

Who notifies is decided by claims. A worker claims the next notification, waits until the others
must have seen the claim, and sends if it still has it. Example: A and B see the same outage and
both claim notification 1 within a second. Both claims come back from the topic, both workers merge
them, and both find A's (its name is first), so that A alone sends. If A dies meanwhile, its claim
is not renewed, and a minute later B takes notification 1 over.

Pure: no clock, no I/O. Times are epoch seconds, as exact as a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trunkline.streams.alerts.conditions import Observation
from trunkline.streams.alerts.kinds import ALL_HANDLED_AFTER, AlertKind
from trunkline.times import epoch_seconds, iso

Due = Literal["firing", "reminder", "resolved"]

CLAIM_TIMEOUT = 60.0
"""Seconds after which a claim that was not renewed is another worker's to take."""

RENEWAL_INTERVAL = 20.0
"""Seconds after which a worker repeats that it still sees the condition, or keeps its claim."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one worker saw: when last, and the amount then."""

    seen: float
    amount: float

    def merge(self, other: Sighting) -> Sighting:
        """The newer of two sightings by one worker."""
        return max(self, other, key=lambda sighting: (sighting.seen, sighting.amount))


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker says that it sends notification number ``number``. ``takeovers``: how often that
    number was taken over from a worker that went silent; ``at``: when the claim was last renewed.
    """

    number: int
    takeovers: int
    worker: str
    at: float

    def merge(self, other: Claim) -> Claim:
        """The claim that wins: later number, later takeover, then whose worker is first by name."""
        mine, others = (self.number, self.takeovers), (other.number, other.takeovers)
        if mine != others:
            return self if mine > others else other
        if self.worker != other.worker:
            return self if self.worker < other.worker else other
        return self if self.at >= other.at else other


@dataclass(frozen=True, slots=True)
class Alarm:
    """One episode of a condition, from when it is first seen until people are told that it is over.

    ``sightings``: what each worker saw last; ``notified``: how many notifications were sent, and
    ``notified_at``: when the last one was written.
    """

    episode: int
    since: float
    sightings: Mapping[str, Sighting] = field(default_factory=dict)
    error: str = ""
    error_at: float = 0.0
    notified: int = 0
    notified_at: float = 0.0
    resolved: bool = False
    claim: Claim | None = None

    @property
    def seen(self) -> float:
        """When any worker last saw the condition."""
        return max((sighting.seen for sighting in self.sightings.values()), default=self.since)

    def amount(self, kind: AlertKind) -> float:
        """How many or how long, over all workers."""
        return kind.total(sighting.amount for sighting in self.sightings.values())

    def due(
        self, now: float, kind: AlertKind, reminder: float, *, handled: bool = False
    ) -> Due | None:
        """Which notification is due, or None. ``reminder``: seconds between reminders;
        ``handled``: every dead letter of it is re-driven or discarded."""
        if self.resolved:
            return None
        if self.notified == 0:
            return "firing"
        # Not at once: a rebalance takes the destination to a worker that needs some seconds to see
        # the same, and people must not be told "over" and "again" for each.
        if now - self.seen > (ALL_HANDLED_AFTER if handled else kind.quiet):
            return "resolved"
        return "reminder" if now - self.notified_at >= reminder else None

    def is_claimed(self, now: float) -> bool:
        """Whether some worker has said that it sends the next notification, and is alive."""
        claim = self.claim
        return (
            claim is not None and claim.number > self.notified and now - claim.at <= CLAIM_TIMEOUT
        )

    def claimed_by(self, worker: str, now: float) -> Alarm:
        """With the next notification claimed by this worker, or its claim renewed."""
        old, number = self.claim, self.notified + 1
        # It grows only where the claim changes hands: so of a claim that its owner renewed and one
        # that took it over meanwhile, the second wins in every worker.
        takeovers = 0
        if old is not None and old.number == number:
            takeovers = old.takeovers if old.worker == worker else old.takeovers + 1
        return replace(self, claim=Claim(number, takeovers, worker, now))

    def after_notification(self, number: int, at: float, due: Due) -> Alarm:
        """After notification number ``number``, written at ``at``, was sent by one channel."""
        if number <= self.notified:  # another channel, or another worker, was first
            return self
        resolved = self.resolved or due == "resolved"
        return replace(
            self, notified=number, notified_at=max(self.notified_at, at), resolved=resolved
        )

    def observed(self, worker: str, seen: Observation, now: float) -> Alarm:
        """With what a worker sees now; unchanged if it said so less than RENEWAL_INTERVAL ago."""
        mine = self.sightings.get(worker)
        if self.resolved:  # what was seen after people were told so is a new episode
            new = replace(first_episode(worker, seen), episode=self.episode + 1)
            return new if seen.seen > self.notified_at else self
        if mine is not None and now < mine.seen + RENEWAL_INTERVAL:
            return self
        return self.caught_up(worker, seen)

    def caught_up(self, worker: str, seen: Observation) -> Alarm:
        """With the newest that a worker sees, however fresh its last sighting is."""
        return self.merge(replace(first_episode(worker, seen), episode=self.episode))

    def merge(self, other: Alarm) -> Alarm:
        """What both know together; a later episode wins over an earlier one."""
        # Every field takes the greater of two, or the smaller: so the order in which workers read
        # each other's records makes no difference, nor does reading one twice.
        if self.episode != other.episode:
            return self if self.episode > other.episode else other
        error = max((self.error_at, self.error), (other.error_at, other.error))
        claims = [claim for claim in (self.claim, other.claim) if claim is not None]
        return Alarm(
            self.episode,
            min(self.since, other.since),
            _merged_sightings(self.sightings, other.sightings),
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
            "notified": self.notified,
            "error": self.error,
            "error_at": iso(self.error_at) if self.error else None,
            "workers": {
                worker: [iso(sighting.seen), sighting.amount]
                for worker, sighting in sorted(self.sightings.items())
            },
        }
        if (claim := self.claim) is not None:
            value["claim"] = [claim.number, claim.takeovers, claim.worker, iso(claim.at)]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Alarm:
        """The alarm of a control record. Raises KeyError, TypeError or ValueError for another."""
        claim = value.get("claim")
        return cls(
            value["episode"],
            epoch_seconds(value["since"]),
            {
                worker: Sighting(epoch_seconds(seen), amount)
                for worker, (seen, amount) in value["workers"].items()
            },
            value["error"],
            epoch_seconds(value["error_at"]),
            value["notified"],
            epoch_seconds(value["sent"]),
            value["state"] == "resolved",
            _claim_of(claim) if claim else None,
        )


def first_episode(worker: str, seen: Observation) -> Alarm:
    """The first episode of a condition that this worker sees."""
    sights = {worker: Sighting(seen.seen, seen.amount)}
    return Alarm(1, seen.since, sights, seen.error, seen.error_at if seen.error else 0.0)


def _claim_of(value: Sequence[Any]) -> Claim:
    number, takeovers, worker, at = value
    return Claim(number, takeovers, worker, epoch_seconds(at))


def _merged_sightings(
    one: Mapping[str, Sighting], other: Mapping[str, Sighting]
) -> dict[str, Sighting]:
    both = one.keys() & other.keys()
    return {**one, **other, **{worker: one[worker].merge(other[worker]) for worker in both}}
