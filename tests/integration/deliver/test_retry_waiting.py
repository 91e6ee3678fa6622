"""``trunkline retry`` over real Kafka: what waits is listed, attempted now, and discarded, by two
workers and through a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from engine_kit import Kit, Scripted, delivering, eventually, order
from trunkline import Event, Retry, Retryable
from trunkline.admin import Target, read_audit
from trunkline.cli import app
from trunkline.streams.control.kafka_topic import read_control


@pytest.fixture
def kit(bootstrap: str, registry_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", bootstrap)
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


def retry(*arguments: str) -> str:
    """``trunkline retry``; returns what it prints."""
    result = CliRunner().invoke(app, ["retry", *arguments])
    assert result.exception is None, result.exception
    return result.output


def waiting(flow: str) -> list[dict[str, Any]]:
    lines = retry("list", f"{flow}.erp", "--json").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def once_bad(event: Event[Any], attempt: int) -> Exception | None:
    """The first event of each key fails once."""
    return Retryable("busy", after=900) if event.id.endswith("/1") and attempt == 1 else None


def test_what_waits_is_listed_attempted_and_discarded(kit: Kit) -> None:
    sink = Scripted(once_bad, concurrency=4)
    flow = delivering(sink, retry=Retry("1m", "20m"))
    kit.create(flow)
    keys = [f"k{number}" for number in range(6)]  # in both partitions
    inbox = f"{flow.name}.erp.inbox"

    async def run() -> None:
        async with kit.running(flow), kit.running(flow):
            kit.produce(inbox, [kit.event(k, f"{k}/{n}", order()) for n in (1, 2) for k in keys])
            await eventually(lambda: len(waiting(flow.name)) == 12, "all wait", asks=True)
            listed = waiting(flow.name)
            assert {one["attempts"] for one in listed if one["id"].endswith("/1")} == {1}
            assert {one["tier"] for one in listed} <= {"1m", "20m"}
            name = f"{flow.name}.erp"
            arguments = ["destination", "status", name]
            status = await asyncio.to_thread(CliRunner().invoke, app, arguments)
            assert "not delivered yet: 0 in the inbox, 12 in retry topics" in status.output
            told = await asyncio.to_thread(retry, "now", name, "--id", "k0/2", "--why", "mended")
            assert "2 events will be attempted now" in told
            await eventually(lambda: sink.ids == ["k0/1", "k0/2"], "k0 is delivered, in order")
            await asyncio.to_thread(retry, "discard", name, "--id", "k1/1", "--yes")
            await eventually(lambda: "k1/2" in sink.ids, "what was behind follows")
            await eventually(lambda: len(waiting(flow.name)) == 8, "four are done with", asks=True)
        # No worker runs: the decision waits for one.
        await asyncio.to_thread(retry, "now", name, "--all")
        async with kit.running(flow):
            await eventually(lambda: len(sink.ids) == 11, "all others are delivered")
            await eventually(lambda: not waiting(flow.name), "nothing waits any more", asks=True)

    asyncio.run(run())
    assert "k1/1" not in sink.ids
    for key in keys[2:]:
        assert sink.ids.index(f"{key}/1") < sink.ids.index(f"{key}/2")
    target = Target(flow.name, "erp")
    deeds = [(one.what, one.count, one.why) for one in read_audit(kit.backbone, target.flow)]
    assert deeds == [("retry", 2, "mended"), ("retry-discard", 1, ""), ("retry", 8, "")]
    state = read_control(kit.backbone, target.control)
    assert {key.split("/")[0] for key in state} == {"retry"}, "they stand for ten minutes"
