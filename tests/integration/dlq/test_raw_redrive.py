"""What a source could not read is sent again through today's source, on real Kafka: with the ids
that it would have had, in the order of its keys, once, whatever the command is killed in."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from cluster_world import process_left_as_it_was
from engine_kit import Kit, eventually, headers_of
from trunkline import kafka
from trunkline.admin import Target, open_dead_letters
from trunkline.cli import app
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.flow.loading import load
from trunkline.streams.plan.topics import required_topics
from trunkline.streams.worker.compiler import Compiler

FLOW = """
from trunkline import Flow, Params, Record
from trunkline.connectors.files import Csv, FileSource
from trunkline.schemas.commerce import Order


class Env(Params):
    folder: str


flow = Flow("{name}", Env)


@flow.source
def till(env: Env) -> FileSource:
    return FileSource(env.folder, key="id", settle="0s", format=Csv(encoding="{encoding}"))


@flow.topic("{name}.orders", source=till)
def orders(record: Record) -> Order | None:
    return Order(id=record.key, status=record.data["city"], total_cents=int(record.data["n"]))
"""
KEYS, EACH = 400, 5


class World:
    """A flow that reads Latin-1 as UTF-8, until it is mended."""

    def __init__(self, kit: Kit, folder: Path) -> None:
        self.kit = kit
        self.name = f"till-{uuid.uuid4().hex[:8]}"
        self.file, self.folder = folder / "flow.py", folder / "in"
        self.folder.mkdir()
        self.write("utf-8")
        kafka.ensure_topics(kit.backbone, required_topics(load(str(self.file)), 2))

    def write(self, encoding: str) -> None:
        self.file.write_text(FLOW.format(name=self.name, encoding=encoding))

    def read(self, rows: list[str]) -> None:
        """A file with these rows arrives, and is read."""
        (self.folder / "a.csv").write_bytes("\n".join(["id,n,city", *rows, ""]).encode("latin-1"))
        flow, stop = load(str(self.file)), threading.Event()
        with (
            closing(registry_of(self.kit.backbone)) as registry,
            closing(flow.sources[0](flow.params(folder=str(self.folder)))) as source,  # type: ignore[type-var]
        ):
            publisher = Compiler(flow, Codec(registry), register=True).publisher(flow.sources[0])
            for batch in source.read(None, stop):  # type: ignore[union-attr]
                for one in publisher.publish(batch.records).records:
                    self.kit.produce(one.topic, [(one.key, one.value, one.headers)])
                if batch.current:
                    stop.set()

    def published(self) -> list[tuple[str, str]]:
        """Key and id of the committed events, as the partitions have them."""
        found = self.kit.read(f"{self.name}.orders")
        return [((m.key() or b"").decode(), headers_of(m)["ce_id"]) for m in found]

    def until_published(self, count: int) -> None:
        """Wait for so many events: a reader sees a transaction a moment after it has ended."""
        there = eventually(lambda: len(self.published()) >= count, f"{count} events", asks=True)
        asyncio.run(there)

    def left(self) -> int:
        opened = open_dead_letters(self.kit.backbone, Target(self.name, "till"))
        return sum(1 for _ in opened.letters())

    @property
    def command(self) -> list[str]:
        return ["dlq", "redrive", f"{self.name}.till", "--flow", str(self.file), "--yes"]

    def redrive(self, *options: str) -> str:
        with process_left_as_it_was():
            result = CliRunner().invoke(app, [*self.command, *options])
        if result.exception is not None:
            raise result.exception
        return result.output


@pytest.fixture
def world(
    bootstrap: str, registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", bootstrap)
    monkeypatch.setenv("TRUNKLINE_REGISTRY", registry_url)
    monkeypatch.setenv("TRUNKLINE_PARTITIONS", "2")
    kit = Kit(bootstrap, registry_url)
    made = World(kit, tmp_path)
    monkeypatch.setenv("TRUNKLINE_PARAMS_FOLDER", str(made.folder))
    yield made
    kit.close()


def test_lines_that_were_no_utf8_are_sent_by_the_mended_source(world: World) -> None:
    world.read(["1,1,Rom", "2,2,Forlì", "3,3,Pisa", "2,x,Forlì"])
    assert (len(world.published()), world.left()) == (2, 2)
    assert "2 refused again" in world.redrive("--dry-run")
    world.write("latin-1")
    assert "redrive of 1 dead letter " in world.redrive()
    world.until_published(3)
    assert sorted(key for key, _ in world.published()) == ["1", "2", "3"]
    assert world.left() == 1, "a number that is none is refused as well"


def test_a_command_that_is_killed_sends_each_once_and_in_order(world: World) -> None:
    rows = [f"{key},{n},Forlì" for n in range(EACH) for key in range(KEYS)]
    world.read(rows)
    assert world.left() == len(rows)
    world.write("latin-1")
    _kill_in_its_transaction(world)
    assert "redrive" in world.redrive()
    world.until_published(len(rows))
    assert world.left() == 0
    found = world.published()
    assert len({id for _, id in found}) == len(found) == len(rows)
    offsets: dict[str, list[int]] = {}
    for key, id in found:
        offsets.setdefault(key, []).append(int(id.rpartition("-")[2]))
    assert len(offsets) == KEYS
    assert all(each == sorted(each) for each in offsets.values()), "those of a key in their order"


def _kill_in_its_transaction(world: World) -> None:
    """Run the command, and ``kill -9`` it when the first of its events are in Kafka."""
    place = [TopicPartition(f"{world.name}.orders", n) for n in range(2)]
    client = Consumer({"bootstrap.servers": world.kit.backbone.bootstrap, "group.id": "end"})
    with closing(client):
        assert [client.get_watermark_offsets(each, 10) for each in place] == [(0, 0), (0, 0)]
        process = subprocess.Popen(
            [sys.executable, "-m", "trunkline.cli", *world.command], stdout=subprocess.DEVNULL
        )
        try:
            until = time.monotonic() + 60
            while not any(client.get_watermark_offsets(each, 10)[1] for each in place):
                assert process.poll() is None, "it ended without an event"
                assert time.monotonic() < until, "nothing is written"
        finally:
            process.kill()
            process.wait()
    assert process.returncode == -signal.SIGKILL, "it had ended before"
