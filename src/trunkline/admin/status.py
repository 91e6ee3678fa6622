"""What workers say of themselves in the control topic, as operators read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from trunkline import kafka
from trunkline.params import Backbone
from trunkline.streams.control.status import STALE, record_age


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What one worker told. ``stale``: too long ago to count. ``age``: in seconds."""

    worker: str
    state: str
    since: str | None
    lag: int | None
    waiting: int | None
    at: str
    age: float
    stale: bool


def reported(
    state: Mapping[str, Mapping[str, Any]], destination: str, now: float
) -> list[WorkerStatus]:
    """What the workers told of a destination, out of a control topic's state, by worker.

    ``now``: seconds since the epoch.
    """
    prefix = f"status/{destination}/"
    told = {key: value for key, value in sorted(state.items()) if key.startswith(prefix)}
    return [_status(key.removeprefix(prefix), value, now) for key, value in told.items()]


def _status(worker: str, value: Mapping[str, Any], now: float) -> WorkerStatus:
    age = record_age(value, now)
    return WorkerStatus(
        worker=worker,
        state=str(value.get("state")),
        since=value.get("since"),
        lag=value.get("lag"),
        waiting=value.get("waiting"),
        at=str(value.get("at")),
        age=age,
        stale=age > STALE,
    )


def members(backbone: Backbone, group: str) -> int:
    """How many workers a consumer group has. Raises KafkaUnavailable."""
    client = kafka.admin(backbone)  # held until it has answered: the answer comes through it
    described = client.describe_consumer_groups([group], request_timeout=10)[group]
    try:
        return len(described.result().members)
    except KafkaException as failure:
        if failure.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # no worker has run yet
            return 0
        raise kafka.KafkaUnavailable(f"group {group}: {failure.args[0].str()}") from failure
