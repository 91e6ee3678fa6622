"""A source's dead letters are sent again through today's function, on real Kafka."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine_kit import Kit, eventually, headers_of
from trunkline import Record, kafka
from trunkline.admin import Target, open_dead_letters, read_audit
from trunkline.admin.source_letters import redrive_source
from trunkline.cli import app
from trunkline.errors import ConfigurationError
from trunkline.kafka import KafkaUnavailable
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.control.audit import AuditRecord
from trunkline.streams.flow.loading import load
from trunkline.streams.plan.topics import required_topics
from trunkline.streams.worker.compiler import Compiler

FLOW = """
from trunkline import Flow, Params, Record
from trunkline.connectors.webhook import WebhookSource
from trunkline.schemas.commerce import Order


class Env(Params):
    pass


flow = Flow("{name}", Env)


@flow.source
def partner(env: Env) -> WebhookSource:
    return WebhookSource(port=0, key="id")


@flow.topic("{name}.orders", source=partner)
def orders(record: Record) -> Order | None:
    return Order(id=record.key, status=record.data["status"], total_cents={cents})
"""
BROKEN = 'int(record.data["cents"])'
MENDED = 'int(str(record.data["cents"]).replace(",", ""))'


class World:
    """A flow whose function refuses ``1,000`` until it is mended."""

    def __init__(self, kit: Kit, folder: Path) -> None:
        self.kit = kit
        self.name = f"hook-{uuid.uuid4().hex[:8]}"
        self.file = folder / "flow.py"
        self.write(BROKEN)
        flow = load(str(self.file))
        kafka.ensure_topics(kit.backbone, required_topics(flow, 2))

    def write(self, cents: str) -> None:
        self.file.write_text(FLOW.format(name=self.name, cents=cents))

    def receive(self, *records: Record) -> None:
        """The webhook was called."""
        flow = load(str(self.file))
        with closing(registry_of(self.kit.backbone)) as registry:
            publisher = Compiler(flow, Codec(registry), register=True).publisher(flow.sources[0])
            made = publisher.publish(records).records
        for one in made:
            self.kit.produce(one.topic, [(one.key, one.value, one.headers)])

    @property
    def published(self) -> list[tuple[str, str]]:
        """Key and id of the events."""
        found = self.kit.read(f"{self.name}.orders")
        return sorted(((m.key() or b"").decode(), headers_of(m)["ce_id"]) for m in found)

    def until_published(self, *wanted: tuple[str, str]) -> None:
        """Wait for these events: a reader sees a transaction a moment after it has ended."""
        told = eventually(lambda: self.published == sorted(wanted), f"{wanted}", asks=True)
        asyncio.run(told)

    @property
    def left(self) -> list[str]:
        """The keys of the letters that nobody has handled."""
        opened = open_dead_letters(self.kit.backbone, Target(self.name, "partner"))
        return sorted(letter.shown_key for letter in opened.letters())

    def redrive(self, *options: str) -> str:
        arguments = ["dlq", "redrive", f"{self.name}.partner", *options]
        result = CliRunner().invoke(app, arguments)
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
    yield World(kit, tmp_path)
    kit.close()


def call(key: str, cents: Any, id: str | None = None) -> Record:
    return Record(key=key, data={"status": "paid", "cents": cents}, id=id or f"id-{key}")


def test_of_two_commands_the_newer_knows_what_the_older_has_written_or_fences_it(
    world: World,
) -> None:
    world.receive(call("a", "1,000"))
    world.write(MENDED)
    opened = open_dead_letters(world.kit.backbone, Target(world.name, "partner"))
    older = opened.writer("redrive partner")
    world.redrive("--flow", str(world.file), "--yes")
    audit = AuditRecord(what="redrive", on="partner", why="", who="me", at="now")
    with pytest.raises(KafkaUnavailable, match="redrive partner: Kafka did not take it"):
        older.put({}, audit)
    newer = redrive_source(opened, load(str(world.file)))
    assert (newer.sent, newer.superseded) == ([], []), "it was opened before, and knows of it"
    world.until_published(("a", "id-a"))


def test_a_webhooks_letters_are_sent_again_through_todays_function(world: World) -> None:
    world.receive(call("a", "1,000"), call("b", 5), call("c", "2,000"), call("d", "many"))
    assert world.left == ["a", "c", "d"]
    file = str(world.file)
    with pytest.raises(ConfigurationError, match="--flow"):
        world.redrive("--yes")
    assert "would redrive 0 dead letters" in world.redrive("--flow", file, "--yes")
    world.write(MENDED)
    told = world.redrive("--flow", file, "--dry-run")
    assert "would redrive 2 dead letters" in told
    assert "1 refused again" in told
    assert world.published == [("b", "id-b")]
    told = world.redrive("--flow", file, "--yes", "--why", "commas are read")
    assert "redrive of 2 dead letters" in told
    world.until_published(("a", "id-a"), ("b", "id-b"), ("c", "id-c"))
    assert world.left == ["d"]
    world.redrive("--flow", file, "--yes")
    assert len(world.published) == 3, "handled ones are not sent twice"
    (audit,) = read_audit(world.kit.backbone, world.name)
    assert (audit.what, audit.on, audit.count, audit.why) == (
        "redrive",
        "partner",
        2,
        "commas are read",
    )


def test_a_letter_with_a_newer_event_of_its_key_is_handled_without_being_sent(world: World) -> None:
    world.receive(call("a", "1,000", "old"))
    world.receive(call("a", 7, "new"))
    world.write(MENDED)
    file = str(world.file)
    assert "1 superseded" in world.redrive("--flow", file, "--dry-run")
    assert world.left == ["a"]
    assert "1 superseded" in world.redrive("--flow", file, "--yes")
    assert (world.published, world.left) == ([("a", "new")], [])
    world.redrive("--flow", file, "--yes", "--force")
    world.until_published(("a", "new"), ("a", "old"))
    assert world.left == []


def test_a_limit_and_a_filter_hold(world: World) -> None:
    world.receive(call("a", "1,000"), call("b", "1,000"), call("c", "1,000"))
    world.write(MENDED)
    world.redrive("--flow", str(world.file), "--yes", "--key", "b")
    assert world.left == ["a", "c"]
    world.redrive("--flow", str(world.file), "--yes", "--limit", "1")
    assert len(world.left) == 1
