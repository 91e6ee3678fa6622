"""A re-drive as a person does it: a worker runs, the command waits until all is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from click.testing import Result
from typer.testing import CliRunner

from engine_kit import Kit, Scripted, delivering, eventually
from trunkline import Event, Rejected
from trunkline.admin.audit import read_audit
from trunkline.cli import app
from trunkline.schemas.commerce import Order
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.dlq.handled import HandledLetters
from trunkline.streams.dlq.queue import DeadLetterQueue


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


class Shop:
    """Customers that the sink does not know, until it does."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.knows = False
        self.sink = Scripted(self.answer)
        self.flow = delivering(self.sink)
        kit.create(self.flow)

    def answer(self, event: Event[Order], attempt: int) -> Exception | None:
        return None if self.knows else Rejected(f"customer {event.id} is unknown")

    @property
    def dead(self) -> int:
        return len(self.kit.read(self.flow.destinations[0].dlq))

    @property
    def done(self) -> int:
        """How many requests are over."""
        state = read_control(self.kit.backbone, f"{self.flow.name}.control")
        return sum(value.get("state") == "done" for value in state.values())

    @property
    def queue(self) -> DeadLetterQueue:
        state = read_control(self.kit.backbone, f"{self.flow.name}.control")
        dlq = self.flow.destinations[0].dlq
        return DeadLetterQueue(self.kit.backbone, dlq, HandledLetters(state, "erp"))

    async def command(self, name: str, *arguments: str) -> str:
        """What ``trunkline dlq`` says, beside the worker."""
        there = self.kit.backbone
        env = {"TRUNKLINE_BOOTSTRAP": there.bootstrap, "TRUNKLINE_REGISTRY": there.registry}
        command_line = ["dlq", name, f"{self.flow.name}.erp", *arguments]
        result: Result = await asyncio.to_thread(CliRunner(env=env).invoke, app, command_line)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output


def test_what_was_dead_is_delivered_once_with_its_id(kit: Kit) -> None:
    shop = Shop(kit)
    events = [kit.event(f"k{n}", f"e{n}") for n in range(4)]
    kit.produce(f"{shop.flow.name}.orders", events)

    async def run() -> None:
        async with kit.running(shop.flow) as worker:
            await eventually(lambda: worker.done() or shop.dead == 4, "all are dead", asks=True)
            shop.knows = True
            assert "discarded" in await shop.command("discard", "--key", "k3", "--yes")
            said = await shop.command("redrive", "--yes", "--why", "customers are imported")
            assert "3 dead letters" in said
            assert said.rstrip().endswith("done: 3 sent")
            await eventually(lambda: worker.done() or len(shop.sink.ids) >= 3, "they arrive")
            assert "no dead letters to redrive" in await shop.command("redrive", "--yes")
            assert "no dead letters that" in await shop.command("list")

    asyncio.run(run())
    assert sorted(shop.sink.ids) == ["e0", "e1", "e2"]
    assert {event.header("tl_origin") for event in shop.sink.delivered} == {"redrive"}
    audits = read_audit(kit.backbone, shop.flow.name)
    assert [(one.what, one.count) for one in audits] == [
        ("discard", 1),
        ("discard done", 1),
        ("redrive", 3),
        ("redrive done", 3),
    ]
    assert audits[2].why == "customers are imported"


def test_two_redrives_of_the_same_letters_send_each_once(kit: Kit) -> None:
    shop = Shop(kit)
    kit.produce(f"{shop.flow.name}.orders", [kit.event(f"k{n}", f"e{n}") for n in range(20)])

    async def run() -> None:
        async with kit.running(shop.flow) as worker:
            await eventually(lambda: worker.done() or shop.dead == 20, "all are dead", asks=True)
        shop.knows = True
        for why in ("first", "second"):
            said = await shop.command("redrive", "--yes", "--detach", "--why", why)
            assert "the request waits until one runs" in said
        async with kit.running(shop.flow) as worker:
            await eventually(lambda: worker.done() or len(shop.sink.ids) >= 20, "they arrive")
            while await asyncio.to_thread(lambda: shop.done) < 2:  # the test's own timeout ends it
                assert not worker.done()

    asyncio.run(run())
    assert sorted(shop.sink.ids) == sorted(f"e{n}" for n in range(20))
    assert list(shop.queue.letters()) == []
