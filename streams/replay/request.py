"""A replay, re-drive or discard as the control topic has it: what is asked for, how far it is.

The request is the record of ``ReplayKey(id)``. Workers do it partition by partition of the
canonical topics; what each has done is the record of ``ReplayKey(id, partition)``, written in the
transactions that do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from trunkline.errors import DataError
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.dlq.letters import DeadLetterFilter

Kind = Literal["replay", "redrive", "discard"]
Mode = Literal["state", "events"]
State = Literal["running", "paused", "cancelled", "done", "refused"]

Ranges = dict[Partition, tuple[int, int]]
"""By topic and partition: the first offset, and the one behind the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be sent to a destination again.

    ``ranges``: fixed when it was asked for; of a replay in the canonical topic, otherwise in the
    dead-letter queue. ``mode``: "state" sends the newest event of each key, "events" all of them
    (of a re-drive it is the destination's sink that decides). ``key`` and ``where``: which events
    of a replay. ``selection``: which dead letters. ``rate``: events a second over all workers.
    ``force``: whatever would forbid it. ``reason``: why it was refused.
    """

    id: str
    kind: Kind
    destination: str
    ranges: Ranges
    mode: Mode = "state"
    key: str | None = None
    where: str | None = None
    rate: float | None = None
    force: bool = False
    selection: DeadLetterFilter = field(default_factory=DeadLetterFilter)
    by: str = ""
    why: str = ""
    at: str = ""
    state: State = "running"
    reason: str = ""

    @classmethod
    def of(cls, id: str, value: Mapping[str, Any]) -> Request:
        """The request of a control record. Raises DataError for one that is none, and
        ConfigurationError."""
        plain = ("destination", "key", "where", "rate", "force", "by", "why", "at", "reason")
        try:
            return cls(
                id=id,
                kind=_one_of(Kind, value["kind"]),
                mode=_one_of(Mode, value.get("mode") or "state"),
                state=_one_of(State, value.get("state") or "running"),
                ranges={place_of(name): (start, end) for name, (start, end) in _ranges(value)},
                selection=DeadLetterFilter.of_request(value),
                **{name: value[name] for name in plain if value.get(name) is not None},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"replay {id}: {type(error).__name__}: {error}") from error

    @property
    def record_key(self) -> str:
        """The control record's key."""
        return ReplayKey(self.id).text

    def progress_key(self, place: Partition) -> str:
        """The key of the record that tells what was done for a canonical partition."""
        return ReplayKey(self.id, place).text


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """How far one canonical partition is. ``next``: the offset to go on from, None at the start;
    of dead letters, the partition of their queue and the offset there."""

    next: Any = None
    counts: Mapping[str, int] = field(default_factory=dict)
    done: bool = False

    @classmethod
    def of(cls, value: Mapping[str, Any] | None) -> PartitionProgress:
        """The progress of a control record; of None, the beginning."""
        value = value or {}
        return cls(value.get("next"), value.get("counts", {}), bool(value.get("done")))

    def value(self) -> dict[str, Any]:
        """As the control record has it."""
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


def place_of(name: str) -> Partition:
    """``<topic>/<partition>`` taken apart. Raises ValueError."""
    topic, _, number = name.rpartition("/")
    return topic, int(number)


def _ranges(value: Mapping[str, Any]) -> list[tuple[str, tuple[int, int]]]:
    return [(name, (int(start), int(end))) for name, (start, end) in value["ranges"].items()]


def _one_of(kind: Any, text: str) -> Any:
    if text not in get_args(kind):
        raise ValueError(f"{text!r} is none of {', '.join(get_args(kind))}")
    return text
