"""What people ask the workers to send again, or to discard: the records ``replay/<id>``.

A command writes one ``Request`` into the control topic, under ``ReplayKey(id)``; the workers that
route do it, partition by partition of the canonical topics. How far each partition is, is a
``PartitionProgress`` under ``ReplayKey(id, partition)``, written in the transactions that do it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from trunkline.errors import DataError
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.dlq.letters import DeadLetterFilter

RequestKind = Literal["replay", "redrive", "discard"]
ReplayMode = Literal["state", "events"]
RequestState = Literal["running", "paused", "cancelled", "done", "refused"]


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A replay, re-drive or discard: what is to be sent to one destination again, or never.

    - ``ranges``: the offsets it is about, fixed when it was asked for: of a replay in the canonical
      topic, otherwise in the dead-letter queue. What arrives later is not part of it.
    - ``mode``: "state" sends the newest event of each key, "events" all of them. A re-drive goes
      by the destination's sink instead.
    - ``key``, ``where``: which events of a replay. ``selection``: which dead letters.
    - ``limit``: how many dead letters at most. ``ranges`` hold no more, so workers need not count.
    - ``rate``: events a second, over all workers. ``force``: also what would be held back: dead
      letters that are handled or superseded, mode "events" where the sink overwrites.
    - ``by``, ``why``, ``at``: who asked, for what reason, and when (ISO 8601). ``count``: how many
      dead letters it was about then.
    - ``state``; ``reason``: why it was refused; ``counts``: what became of its events, once done.
    """

    id: str = field(default_factory=_new_id)
    kind: RequestKind
    destination: str
    ranges: Mapping[Partition, range]
    mode: ReplayMode = "state"
    key: str | None = None
    where: str | None = None
    selection: DeadLetterFilter = field(default_factory=DeadLetterFilter)
    limit: int | None = None
    rate: float | None = None
    force: bool = False
    by: str = ""
    why: str = ""
    at: str = ""
    count: int | None = None
    state: RequestState = "running"
    reason: str = ""
    counts: Mapping[str, int] | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the record that this version does not know."""

    @property
    def topic(self) -> str:
        """The topic of the ranges; "" if there are none."""
        return next((topic for topic, _ in self.ranges), "")

    @property
    def record_key(self) -> str:
        """The control record's key."""
        return ReplayKey(self.id).text

    def progress_key(self, partition: Partition) -> str:
        """The key of the record that says how far a canonical partition is."""
        return ReplayKey(self.id, partition).text

    def with_state(
        self, state: RequestState, *, reason: str = "", counts: Mapping[str, int] | None = None
    ) -> Request:
        """The request in another state; what is not given stays."""
        return replace(
            self,
            state=state,
            reason=reason or self.reason,
            counts=self.counts if counts is None else counts,
        )

    def to_record(self) -> dict[str, Any]:
        """The control record's value."""
        ranges = {f"{topic}/{n}": [r.start, r.stop] for (topic, n), r in self.ranges.items()}
        record: dict[str, Any] = {
            **self.unknown,
            "kind": self.kind,
            "destination": self.destination,
            "ranges": ranges,
            "mode": self.mode,
            "rate": self.rate,
            "force": self.force,
            "by": self.by,
            "why": self.why,
            "at": self.at,
            "state": self.state,
        }
        if self.kind == "replay":
            record |= {"topic": self.topic, "key": self.key, "where": self.where}
        else:
            record |= {**self.selection.to_record(), "limit": self.limit, "count": self.count}
        # Only once there is one: people read the record, and "counts: null" is no news.
        record |= {"reason": self.reason} if self.reason else {}
        record |= {} if self.counts is None else {"counts": dict(self.counts)}
        return record

    @classmethod
    def from_record(cls, id: str, record: Mapping[str, Any]) -> Request:
        """The request of a control record; a field that is missing or null has its default.

        Raises DataError for a record that is no request, and ConfigurationError for times that
        are none.
        """
        given = {name: value for name, value in record.items() if value is not None}
        try:
            kind: RequestKind = _one_of(RequestKind, given["kind"])
            plain = {name: given[name] for name in (*_PLAIN, *_PLAIN_OF[kind]) if name in given}
            if kind != "replay":  # of a replay "key" is the events', else it is the letters'
                plain["selection"] = DeadLetterFilter.from_record(given)
            request = cls(
                id=id,
                kind=kind,
                ranges={_partition(name): _range(ends) for name, ends in given["ranges"].items()},
                mode=_one_of(ReplayMode, given.get("mode", "state")),
                state=_one_of(RequestState, given.get("state", "running")),
                **plain,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"replay {id}: {type(error).__name__}: {error}") from error
        # Why: while versions change, a worker of the old one may write that a request of the new
        # one is done, or somebody pauses it with an old command. What that one does not know, as a
        # filter of the new version, must not get lost: once continued, it would send more.
        known = request.to_record()
        return replace(request, unknown={n: v for n, v in given.items() if n not in known})


_PLAIN = ("destination", "rate", "force", "by", "why", "at", "reason", "counts")
"""Fields that the record has as the request has them."""
_PLAIN_OF: Mapping[RequestKind, tuple[str, ...]] = {
    "replay": ("key", "where"),
    "redrive": ("limit", "count"),
    "discard": ("limit", "count"),
}
"""Those of one kind of request."""


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """How far a request is in one canonical partition.

    ``next``: where to go on: of a replay the offset there; of dead letters the partition of their
    queue and the offset there; None at the start. ``counts``: what became of its events so far.
    """

    next: Any = None
    counts: Mapping[str, int] = field(default_factory=dict)
    done: bool = False

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> PartitionProgress:
        """The progress of a control record; of None, the beginning."""
        record = record or {}
        return cls(record.get("next"), record.get("counts", {}), bool(record.get("done")))

    def to_record(self) -> dict[str, Any]:
        """The control record's value."""
        return {"next": self.next, "counts": dict(self.counts), "done": self.done}

    def moved(
        self, next: Any, counts: Mapping[str, int], *, done: bool = False
    ) -> PartitionProgress:
        """The progress after so much more was done."""
        return PartitionProgress(next, merge_counts(self.counts, counts), done)


def merge_counts(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """The sums, without what is zero."""
    sums = {name: counts.get(name, 0) + more.get(name, 0) for name in {**counts, **more}}
    return {name: count for name, count in sums.items() if count}


def _partition(text: str) -> Partition:
    """``<topic>/<partition>`` taken apart. Raises ValueError."""
    topic, _, number = text.rpartition("/")
    return topic, int(number)


def _range(ends: Any) -> range:
    start, stop = ends
    return range(int(start), int(stop))


def _one_of(kind: Any, text: str) -> Any:
    if text not in get_args(kind):
        raise ValueError(f"{text!r} is none of {', '.join(get_args(kind))}")
    return text
