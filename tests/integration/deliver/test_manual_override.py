"""An operator's override of a destination: what a running worker does with the commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from engine_kit import PATIENCE, Kit, Scripted, delivering, eventually, order
from trunkline import Unavailable
from trunkline.cli import app


@pytest.fixture
def kit(bootstrap: str, registry_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", bootstrap)
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


async def destination(command: str, flow: str, *options: str) -> str:
    """``trunkline destination``; returns what it prints."""
    arguments = ["destination", command, f"{flow}.erp", *options]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert result.exception is None, result.exception
    return result.output


async def told(flow: str) -> list[str]:
    """The states that the workers tell."""
    shown: dict[str, Any] = orjson.loads(await destination("status", flow, "--json"))
    return [worker["state"] for worker in shown["workers"]]


async def until_told(flow: str, states: list[str]) -> None:
    """Wait until the workers tell these states."""
    deadline = time.monotonic() + PATIENCE
    while (now := await told(flow)) != states:
        assert time.monotonic() < deadline, f"{states} is not told, but {now}"
        await asyncio.sleep(0.1)


def test_a_paused_destination_gets_nothing_until_it_is_resumed_also_after_a_restart(
    kit: Kit,
) -> None:
    sink = Scripted()
    flow = delivering(sink)
    kit.create(flow)

    async def run() -> None:
        await destination("pause", flow.name)
        async with kit.running(flow):
            kit.produce(f"{flow.name}.erp.inbox", [kit.event("a", "1", order())])
            await until_told(flow.name, ["paused"])
        assert await told(flow.name) == [], "a worker that ends takes its record away"
        async with kit.running(flow):
            await until_told(flow.name, ["paused"])
            assert sink.attempts == []
            await destination("resume", flow.name)
            await eventually(lambda: sink.ids == ["1"], "it is delivered")
            await until_told(flow.name, [])

    asyncio.run(run())


def test_events_can_be_sent_although_the_breaker_is_open(kit: Kit) -> None:
    up = asyncio.Event()
    sink = Scripted(lambda event, attempt: None if up.is_set() else Unavailable("down"))
    flow = delivering(sink)
    kit.create(flow)

    async def run() -> None:
        async with kit.running(flow):
            kit.produce(f"{flow.name}.erp.inbox", [kit.event("a", "1", order())])
            await until_told(flow.name, ["open"])
            calls = len(sink.attempts)
            await destination("resume", flow.name, "--force")
            await eventually(lambda: len(sink.attempts) > calls + 3, "it is sent all the same")
            up.set()
            await eventually(lambda: sink.ids == ["1"], "it is delivered")

    asyncio.run(run())
