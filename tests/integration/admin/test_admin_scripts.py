"""The scripts of docs/admin.md on a real Kafka, beside a worker and without one."""

from __future__ import annotations

import asyncio
import runpy
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs_pages import ROOT, blocks_of
from engine_kit import Env, Kit, Scripted, eventually, order
from trunkline import Event, Flow, Rejected, admin
from trunkline.schemas.commerce import Order

SCRIPTS = {block.title: block.text for block in blocks_of(ROOT / "docs" / "admin.md")}


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


class World:
    """The flow that the page speaks of, under a name of its own, and its systems."""

    def __init__(self, kit: Kit, folder: Path) -> None:
        self.kit = kit
        self.knows_customers = False
        self.warehouse = Scripted(self._answer)
        self.erp = Scripted()
        self.name = f"orders-{uuid.uuid4().hex[:8]}"
        self.topic = f"{self.name}.canonical"
        self.flow = self._flow()
        self._folder = folder
        kit.create(self.flow)

    def _answer(self, event: Event[Order], attempt: int) -> Exception | None:
        return None if self.knows_customers else Rejected(f"customer {event.id} is unknown")

    def _flow(self) -> Flow[Env]:
        flow = Flow(self.name, Env)
        orders = flow.existing_topic(self.topic, Order)

        @flow.destination
        def warehouse(env: Env) -> Scripted:
            return self.warehouse

        @flow.destination
        def erp(env: Env) -> Scripted:
            return self.erp

        @flow.route(orders, to=warehouse)
        def to_warehouse(event: Event[Order]) -> Order:
            return event.data

        @flow.route(orders, to=erp)
        def to_erp(event: Event[Order]) -> Order:
            return event.data

        return flow

    def target(self, destination: str) -> admin.Target:
        return admin.Target(self.name, destination)

    def publish(self, *numbers: int, status: str = "paid") -> None:
        """Orders, each with a key of its own."""
        events = [self.kit.event(f"k{n}", f"e{n}", order(n, status=status)) for n in numbers]
        self.kit.produce(self.topic, events)

    async def run(self, title: str) -> None:
        """A script of the page, on this flow."""
        text = SCRIPTS[title]
        for name, own in (("orders.erp", f"{self.name}.erp"), ("commerce.orders", self.topic)):
            text = text.replace(f'"{name}"', f'"{own}"')
        text = text.replace('"orders.warehouse"', f'"{self.name}.warehouse"')
        script = self._folder / title
        script.write_text(text)
        await asyncio.to_thread(runpy.run_path, str(script))


@pytest.fixture
def world(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    environments = tmp_path / "environments"
    environments.mkdir()
    there = kit.backbone
    addresses = f'bootstrap = "{there.bootstrap}"\nregistry = "{there.registry}"\n'
    (environments / "prod.toml").write_text(f"[trunkline]\n{addresses}")
    monkeypatch.chdir(tmp_path)
    return World(kit, tmp_path)


@dataclass
class Said:
    """What a script has printed since it was asked last."""

    capture: pytest.CaptureFixture[str]

    @property
    def lines(self) -> list[str]:
        return self.capture.readouterr().out.splitlines()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


def test_dead_letters_are_read_and_sent_again(world: World, said: Said) -> None:
    dead = world.target("warehouse")

    async def story() -> list[str]:
        async with world.kit.running(world.flow):
            world.publish(1, 2, 3)
            await eventually(lambda: len(world.kit.read(dead.dlq)) == 3, "three letters", asks=True)
            world.knows_customers = True
            await world.run("redrive.py")
            lines = said.lines
            await eventually(lambda: len(world.warehouse.ids) == 3, "all are delivered")
            await eventually(
                lambda: admin.list_requests(world.kit.backbone, world.name)[0].over,
                "the re-drive is done",
                asks=True,
            )
            await world.run("redrive.py")
            return lines

    cause, *letters, last = asyncio.run(story())
    assert cause.startswith("3 Rejected customer ")
    assert sorted(line.split()[1] for line in letters) == ["k1", "k2", "k3"]
    assert all("'status': 'paid'" in line for line in letters), "values are decoded"
    (status,) = admin.list_requests(world.kit.backbone, world.name)
    assert last == f"re-drive {status.request.id}: 3 letters"
    assert said.lines == [], "what is handled is not sent again"
    assert (status.request.by, status.request.rate) == ("import-job", 50)
    assert status.counts == {"sent": 3}
    asked, done = admin.read_audit(world.kit.backbone, world.name)
    assert (asked.what, asked.who, asked.count) == ("redrive", "import-job", 3)
    assert (done.what, done.count, done.id) == ("redrive done", 3, asked.id)


def test_past_events_are_counted_sent_and_waited_for(world: World, said: Said) -> None:
    async def story() -> None:
        async with world.kit.running(world.flow):
            world.publish(1, 2, 3)
            world.publish(4, 5, status="new")
            await eventually(lambda: len(world.erp.ids) == 5, "the past is delivered")
            await world.run("replay.py")
            await eventually(lambda: len(world.erp.ids) == 8, "it is delivered again")

    asyncio.run(story())
    first, *states = said.lines
    assert first == "3 events of 3 keys"
    assert states[-1].startswith("done ")
    assert "'sent': 3" in states[-1]
    assert sorted(world.erp.ids[5:]) == ["e1", "e2", "e3"]
    (status,) = admin.list_requests(world.kit.backbone, world.name)
    assert status == admin.request_status(world.kit.backbone, world.name, status.request.id)
    assert sum(progress.counts.get("sent", 0) for progress in status.partitions.values()) == 3


def test_without_a_worker_a_replay_is_taken_back(world: World, said: Said) -> None:
    async def routed() -> None:
        async with world.kit.running(world.flow):
            world.publish(1)
            await eventually(lambda: len(world.erp.ids) == 1, "the past is delivered")

    asyncio.run(routed())
    asyncio.run(world.run("replay.py"))
    assert said.lines == ["1 events of 1 keys"]
    (status,) = admin.list_requests(world.kit.backbone, world.name)
    assert (status.request.state, status.over) == ("cancelled", True)
    whats = [deed.what for deed in admin.read_audit(world.kit.backbone, world.name)]
    assert whats == ["replay", "replay cancel"]


def test_a_destination_is_paused_looked_at_and_resumed(world: World, said: Said) -> None:
    asyncio.run(world.run("pause.py"))
    first, *deeds = said.lines
    override = admin.destination_status(world.kit.backbone, world.target("erp")).override
    assert first.split()[0] != "auto"
    assert first.endswith(" 0 workers")
    assert [line.split()[1:3] for line in deeds] == [
        ["release-pipeline", "pause"],
        ["release-pipeline", "resume"],
    ]
    assert (override.state, override.by) == ("auto", "release-pipeline")


def test_what_a_worker_tells_is_in_the_overview(world: World) -> None:
    erp = world.target("erp")
    admin.pause_destination(world.kit.backbone, erp)

    def overview() -> Any:
        return admin.destination_status(world.kit.backbone, erp)

    async def story() -> admin.DestinationOverview:
        async with world.kit.running(world.flow):
            world.publish(1)
            await eventually(lambda: overview().workers, "the worker tells", asks=True)
            await eventually(lambda: overview().backlog.inbox, "the event is routed", asks=True)
            found: admin.DestinationOverview = await asyncio.to_thread(overview)
            return found

    found = asyncio.run(story())
    assert found.members == 1
    assert [(worker.state, worker.stale) for worker in found.workers] == [("paused", False)]
    assert world.erp.ids == []
    assert found.backlog == admin.Backlog(inbox=1, retries=0, exact=True)
    admin.resume_destination(world.kit.backbone, erp)
    asyncio.run(delivered(world))
    assert overview().backlog == admin.Backlog(inbox=0, retries=0, exact=True)


async def delivered(world: World) -> None:
    async with world.kit.running(world.flow):
        await eventually(lambda: world.erp.ids, "it is delivered")
