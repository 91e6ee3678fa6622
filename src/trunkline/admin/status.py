"""What workers say of themselves in the control topic, as operators read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from trunkline import kafka
from trunkline.params import Backbone
from trunkline.streams.control.records import StatusKey
from trunkline.streams.control.status import STALE_AFTER, record_age


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that found the destination unavailable, or could not be routed, and is tried again
    where it stands; or one that halts its key (``on_dead="halt"``).

    ``place``: ``topic/partition/offset``; ``since``: when it failed first (ISO 8601); ``times``:
    how often, in succession; ``error``: the last one.
    """

    key: str
    id: str
    place: str
    since: str
    times: int
    error: str

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> HeldEvent:
        """From a worker's record; whatever that lacks is empty."""
        times = value.get("times")
        return cls(
            key=str(value.get("key", "")),
            id=str(value.get("id", "")),
            place=str(value.get("place", "")),
            since=str(value.get("since", "")),
            times=times if isinstance(times, int) else 0,
            error=str(value.get("error", "")),
        )


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What one worker last told of a destination.

    ``state``: open, half-open, slow-start, paused, …, as docs/operations.md lists them; ``since``
    when (ISO 8601), ``until`` when sending goes on by itself, if that is known. ``lag``: events of
    its partitions that are not delivered yet; ``waiting``: of these in retry tiers.
    ``why``: the reason, where the state alone does not tell it. ``held``: the oldest events that
    are tried again and again in their places. ``halted``: the oldest events that halt their keys,
    of ``halted_keys`` in all.
    ``at``: when it told this, ``age`` seconds ago. ``stale``: that is too long ago to count, as the
    worker was killed or has lost Kafka.
    """

    worker: str
    state: str
    since: str | None
    until: str | None
    lag: int | None
    waiting: int | None
    at: str
    age: float
    stale: bool
    why: str | None = None
    held: tuple[HeldEvent, ...] = ()
    halted: tuple[HeldEvent, ...] = ()
    halted_keys: int = 0


def worker_statuses(
    state: Mapping[str, Mapping[str, Any]], destination: str, now: float
) -> list[WorkerStatus]:
    """What the workers last told of a destination, in the order of their names.

    ``state``: of the flow's control topic; ``now``: epoch seconds. A worker for which all is well
    has no record there, so [] means that all is well, or that none runs.
    """
    keys = [key for text in sorted(state) if (key := StatusKey.parse(text)) is not None]
    return [
        _status(key.worker, state[key.text], now) for key in keys if key.destination == destination
    ]


def _status(worker: str, value: Mapping[str, Any], now: float) -> WorkerStatus:
    age, halted_keys = record_age(value, now), value.get("halted_keys")
    return WorkerStatus(
        worker=worker,
        state=str(value.get("state")),
        since=value.get("since"),
        until=value.get("until"),
        lag=value.get("lag"),
        waiting=value.get("waiting"),
        why=value.get("why"),
        held=tuple(HeldEvent.of(one) for one in value.get("held") or ()),
        halted=tuple(HeldEvent.of(one) for one in value.get("halted") or ()),
        halted_keys=halted_keys if isinstance(halted_keys, int) else 0,
        at=str(value.get("at")),
        age=age,
        stale=age > STALE_AFTER,
    )


def group_members(backbone: Backbone, group: str) -> int:
    """How many workers a consumer group has; 0 for a group that never was.

    Blocks for up to 10 seconds. Raises KafkaUnavailable.
    """
    client = kafka.admin(backbone)  # held until it has answered: the answer comes through it
    described = client.describe_consumer_groups([group], request_timeout=10)[group]
    try:
        return len(described.result().members)
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # no worker has run yet
            return 0
        raise kafka.unavailable(f"group {group}", failure, group=group) from failure
