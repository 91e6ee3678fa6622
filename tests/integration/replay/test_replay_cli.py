"""``trunkline replay`` beside a running worker, and without one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result
from test_replay import flow_of, ids, routed, topic
from typer.testing import CliRunner

from engine_kit import Kit, eventually, order
from trunkline import ConfigurationError, Flow
from trunkline.cli import app


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


@pytest.fixture
def flow(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Flow[Any]:
    """Twenty events of ten keys are routed; no worker runs any more."""
    monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", kit.backbone.bootstrap)
    monkeypatch.setenv("TRUNKLINE_REGISTRY", kit.backbone.registry)
    flow = flow_of()
    kit.create(flow)
    events = [kit.event(f"k{n % 10}", f"e{n}", order(n), type=f"order.{n % 2}") for n in range(20)]

    async def route() -> None:
        async with kit.running(flow, "route"):
            kit.produce(topic(flow), events)
            await routed(kit, flow, 20)

    asyncio.run(route())
    return flow


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["replay", *arguments])


def told(*arguments: str) -> str:
    """What a command says; it must succeed."""
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*arguments: str) -> str:
    """Why a command is refused."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, ConfigurationError), result.exception
    return str(result.exception)


def test_a_dry_run_counts_and_sends_nothing(kit: Kit, flow: Flow[Any]) -> None:
    to = [topic(flow), "--to", f"{flow.name}.erp", "--dry-run"]
    text = told(*to)
    assert "would send 10 events of 10 keys to erp" in text
    assert re.search(r"order\.0 +5\norder\.1 +5\n", re.sub(r" +\n", "\n", text))
    assert "10 superseded, 0 not fitting" in text
    assert "would send 20 events" in told(*to, "--mode", "events")
    assert "would send 3 events of 3 keys" in told(*to, "--where", "int(data.id) > 16")
    assert "could not be evaluated for some: 'data.x == 1'" in told(*to, "--where", "data.x == 1")
    assert "would send 1 events of 1 keys" in told(*to, "--key", "k3")
    assert "would send 0 events" in told(*to, "--until", "2020-01-01")
    assert ids(kit, flow) == []
    assert "no replays" in told("list", flow.name)


def test_a_replay_is_watched_until_it_is_done(kit: Kit, flow: Flow[Any]) -> None:
    async def replayed() -> str:
        async with kit.running(flow, "route"):
            to = f"{flow.name}.erp"
            return await asyncio.to_thread(told, topic(flow), "--to", to, "--from", "2h")

    text = asyncio.run(replayed())
    assert "at most 20 events" in text
    assert text.splitlines()[-1] in ("done: 10 sent, 10 superseded", "done: 10 superseded, 10 sent")
    assert len(ids(kit, flow)) == 10
    (one,) = json.loads(told("list", flow.name, "--json"))
    assert (one["state"], one["counts"]) == ("done", {"sent": 10, "superseded": 10})
    assert "is done: ask for a new one" in refused("pause", f"{flow.name}.{one['id']}")


def test_without_a_worker_a_request_waits_and_can_be_held_and_ended(
    kit: Kit, flow: Flow[Any]
) -> None:
    to = [topic(flow), "--to", f"{flow.name}.erp", "--rate", "600/m", "--why", "a try"]
    text = told(*to, "--detach")
    assert "the request waits until one runs" in text
    match = re.search(r"replay (\w+): ", text)
    assert match
    id = f"{flow.name}.{match[1]}"
    assert told("pause", id) == f"replay {match[1]}: paused\n"
    shown = told("status", id)
    assert "erp: paused" in shown
    assert "why: a try" in shown
    assert "rate: 10.0" in shown
    assert match[1] in told("list", flow.name)
    told("continue", id)

    async def begun() -> None:
        async with kit.running(flow, "route"):
            await eventually(lambda: ids(kit, flow), "it sends", asks=True)

    asyncio.run(begun())
    told("cancel", id, "--why", "enough")
    assert "cancelled" in told("status", id)


def test_what_cannot_be_is_refused_with_the_reason(flow: Flow[Any]) -> None:
    erp = f"{flow.name}.erp"
    assert "there is no topic 'nothing'" in refused("nothing", "--to", erp)
    assert f"there are: {flow.name}.crm" in refused(topic(flow), "--to", f"{flow.name}.nobody")
    assert "character 1: 'total'" in refused(topic(flow), "--to", erp, "--where", "total > 1")
    assert "state or events" in refused(topic(flow), "--to", erp, "--mode", "all")
    assert "is no time" in refused(topic(flow), "--to", erp, "--from", "yesterday")
    assert "has no replay 'abc'" in refused("cancel", f"{flow.name}.abc")
    assert "write FLOW.ID" in refused("status", "abc")
