"""Replays that are long over leave the control topic."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline.kafka import KafkaUnavailable
from trunkline.streams.replay import expiry
from trunkline.streams.replay.expiry import RETENTION, expire_requests, expired_keys
from trunkline.testing.control import MemoryControl

NOW = 1_800_000_000.0


def asked(ago: float, state: str = "done") -> dict[str, Any]:
    return {"state": state, "at": datetime.fromtimestamp(NOW - ago, UTC).isoformat()}


def test_old_ones_go_with_what_was_done_for_each_partition_which_goes_first() -> None:
    state = {
        "replay/old": asked(RETENTION + 1),
        "replay/old/orders/0": {"done": True},
        "replay/new": asked(RETENTION - 1),
        "replay/new/orders/0": {"done": True},
        "replay/old/orders/1": {"done": True},
        "destination/erp": {"state": "paused"},
    }
    assert expired_keys(state, NOW) == ["replay/old/orders/0", "replay/old/orders/1", "replay/old"]


@pytest.mark.parametrize("state", ["cancelled", "refused"])
def test_so_do_those_that_were_not_finished(state: str) -> None:
    assert expired_keys({"replay/a": asked(RETENTION + 1, state)}, NOW) == ["replay/a"]


@pytest.mark.parametrize(
    "value",
    [asked(10 * RETENTION, "running"), asked(10 * RETENTION, "paused"), {"state": "done"}, {}],
    ids=["running", "paused", "without a time", "nothing"],
)
def test_what_is_not_over_or_perhaps_new_stays(value: dict[str, Any]) -> None:
    assert expired_keys({"replay/a": value, "replay/a/orders/0": {}}, NOW) == []


class Failing(MemoryControl):
    """Kafka is away at the first try."""

    tries = 0

    async def put(self, key: str, value: Any) -> None:
        self.tries += 1
        if self.tries == 1:
            raise KafkaUnavailable("away")
        await super().put(key, value)


def test_it_is_tried_again_when_kafka_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "CHECK_INTERVAL", 0.0)

    async def story() -> None:
        control = Failing()
        control.state.update({"replay/old/orders/0": {}, "replay/old": asked(RETENTION + 1)})
        empty = asyncio.Event()
        control.subscribe("", lambda key, value: None if control.state else empty.set())
        task = asyncio.create_task(expire_requests(control, lambda: NOW))
        await empty.wait()
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), 10))
