"""``trunkline diff`` and ``destroy`` on a real Kafka, registry and PostgreSQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from typer.testing import CliRunner

from cluster_world import World, process_left_as_it_was
from trunkline import kafka
from trunkline.cli import app
from worker_kit import eventually


@pytest.fixture
def world(
    bootstrap: str, registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, bootstrap, registry_url)


def test_two_environments_are_compared(world: World) -> None:
    world.apply()
    text = (world.folder / "environments" / "it.toml").read_text()
    (world.folder / "environments" / "same.toml").write_text(text)
    code, said = world.run("diff", "orders.py", "--env", "it", "--env", "same")
    assert (code, said) == (0, "it and same have the same of these flows\n")
    code, said = world.run("diff", "orders.py", "--env", "it")
    assert code == 1
    assert "two environments are compared" in said


def test_a_flow_is_taken_away_and_what_others_have_stays(world: World) -> None:
    world.apply()
    kafka.ensure_topics(world.backbone, [kafka.TopicSpec(f"{world.name}.eu.erp.inbox", 1)])
    world.produce(f"{world.name}.erp.inbox")
    member = kafka.consumer(world.backbone, f"{world.name}.erp")
    member.subscribe([f"{world.name}.erp.inbox"])
    eventually(lambda: member.poll(1.0) is not None, "the worker reads")
    code, said = world.run("destroy", world.name, "--env", "it", "--yes")
    assert code == 1
    assert f"workers of '{world.name}' run (in {world.name}.erp): stop them first" in said
    member.close()
    with process_left_as_it_was():
        done = CliRunner().invoke(app, ["destroy", "orders.py", "--env", "it"], input="n\n")
    assert done.exit_code == 1
    assert f"- topic {world.name}.erp.inbox: holds 1 event that waits" in done.output
    assert "erp.inbox" in world.topics(), "nobody said yes"
    code, said = world.run("destroy", "orders.py", "--env", "it", "--yes")
    assert code == 0, said
    assert f"removed: subject {world.name}.erp.inbox-value" in said
    assert world.topics().keys() == {"canonical", "eu.erp.inbox"}
    code, said = world.run("destroy", world.name, "--env", "it", "--yes", "--json")
    assert json.loads(said) == {"removed": []}


@contextmanager
def slot_of(
    world: World, dsn: str, slot: str, *, given: bool
) -> Iterator[psycopg2.extensions.cursor]:
    """A slot and its publication, and a flow with a source of them."""
    flow = (world.folder / "orders.py").read_text()
    named = f', slot="{slot}"' if given else ""
    flow = flow.replace("-> WebhookSource", "-> PostgresCDC")
    flow = flow.replace(
        'WebhookSource(port=0, key="id")', f'PostgresCDC("{dsn}", tables=["public.x"]{named})'
    )
    flow = flow.replace("webhook import WebhookSource", "postgres import PostgresCDC")
    (world.folder / "orders.py").write_text(flow)
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
            cursor.execute(f"CREATE PUBLICATION {slot}")
            yield cursor


@pytest.mark.parametrize("given", [True, False])
def test_a_slot_and_a_publication_go_with_their_flow(
    world: World, postgres_dsn: str, given: bool
) -> None:
    """By their name in the flow; or, where that has none, by that in the source's position."""
    slot = f"trunkline_{uuid.uuid4().hex[:12]}"
    with slot_of(world, postgres_dsn, slot, given=given) as cursor:
        world.apply()
        position = json.dumps({"position": {"phase": "stream", "slot": slot}}).encode()
        world.produce(f"{world.name}.shop.positions", b"shop", position)
        code, said = world.run("destroy", "orders.py", "--env", "it", "--yes")
        assert code == 0, said
        assert f"removed: replication slot {slot}, publication {slot}" in said
        cursor.execute(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{slot}'")
        assert cursor.fetchall() == []
        cursor.execute(f"SELECT 1 FROM pg_publication WHERE pubname = '{slot}'")
        assert cursor.fetchall() == []


def test_a_slot_of_a_source_that_never_ran_here_stays(world: World, postgres_dsn: str) -> None:
    """Another flow that reads the same tables has it, and would lose its changes."""
    slot = f"trunkline_{uuid.uuid4().hex[:12]}"
    with slot_of(world, postgres_dsn, slot, given=True) as cursor:
        code, said = world.run("destroy", "orders.py", "--env", "it", "--yes")
        assert code == 0, said
        kept = f"replication slot {slot}, publication {slot} stays if it is there"
        assert f"source shop has no position here, so {kept}" in said
        cursor.execute(f"SELECT pg_drop_replication_slot('{slot}')")
        cursor.execute(f"DROP PUBLICATION {slot}")
