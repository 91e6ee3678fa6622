"""``trunkline source`` on a worker that reads PostgreSQL: real servers, a person's commands."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pg_kit import Database, new_database
from trunkline.cli import app
from trunkline.params import Backbone
from worker_kit import Workers, environ_of, eventually, header, read

FLOW = Path(__file__).parent / "cdc_flow.py"


@dataclass
class Shop:
    """A flow of its own, its database, and what a person types."""

    name: str
    database: Database
    backbone: Backbone
    environ: dict[str, str]

    def source(self, *words: str, code: int = 0) -> str:
        """``trunkline source …``; what it prints."""
        done = CliRunner(env=self.environ).invoke(app, ["source", *words])
        assert done.exit_code == code, (done.output, done.exception)
        return done.stdout

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.source("status", f"{self.name}.shop", "--json"))
        return found

    def state(self) -> str:
        return str((self.status()["status"] or {}).get("state"))

    def published(self) -> dict[str, int]:
        """How many events there are, by key and type, as ``1 create``."""
        events = read(self.backbone, f"{self.name}.orders")
        return Counter(
            f"{(event.key() or b'').decode()} {header(event, 'ce_type').rpartition('.')[2]}"
            for event in events
        )


@pytest.fixture
def shop(bootstrap: str, registry_url: str, postgres_dsn: str) -> Iterator[Shop]:
    name = f"cdc-{uuid.uuid4().hex[:8]}"
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    with new_database(postgres_dsn, name) as database:
        database.run("CREATE TABLE orders (id int PRIMARY KEY, status text)")
        database.run("INSERT INTO orders VALUES (1, 'paid'), (2, 'paid')")
        yield Shop(name, database, backbone, environ_of(backbone, flow=name, dsn=database.dsn))


def test_status_pause_resume_and_reset(shop: Shop, tmp_path: Path) -> None:
    with Workers(FLOW, tmp_path, shop.environ) as workers:
        workers.started("source")
        eventually(lambda: len(shop.published()) == 2, "the snapshot is published")
        eventually(lambda: shop.state() == "running", "it is told")
        assert shop.status()["position"]["phase"] == "stream"
        eventually(lambda: shop.status()["status"]["gauges"], "what its system tells")
        assert "slot_state: reserved" in shop.source("status", f"{shop.name}.shop")

        shop.source("pause", f"{shop.name}.shop", "--why", "upgrade")
        eventually(lambda: shop.state() == "paused", "it is paused")
        shop.database.run("INSERT INTO orders VALUES (3, 'paid')")
        shop.source("reset", f"{shop.name}.shop", "--yes", "--why", "restored")
        assert "it was reset, and begins anew" in shop.source("status", f"{shop.name}.shop")
        assert shop.published() == {"1 snapshot": 1, "2 snapshot": 1}, "it is still paused"

        shop.source("resume", f"{shop.name}.shop")
        anew = {"1 snapshot": 2, "2 snapshot": 2, "3 snapshot": 1}
        eventually(lambda: shop.published() == anew, "all of it comes anew")
        shop.database.run("INSERT INTO orders VALUES (4, 'paid')")
        eventually(lambda: shop.published() == anew | {"4 create": 1}, "and changes behind it")

        # Without a pause: the worker that streams is fenced, and begins at once.
        shop.source("reset", f"{shop.name}.shop", "--yes")
        eventually(lambda: shop.published().get("4 snapshot"), "all of it comes once more")
        assert shop.published()["1 snapshot"] == 3

        shop.source("snapshot", f"{shop.name}.shop", "--table", "orders", "--where", "id > 3")
        eventually(lambda: shop.published()["4 snapshot"] == 2, "a row is read again")
        assert shop.published()["1 snapshot"] == 3
        eventually(lambda: shop.status()["snapshots"] == [], "it is done")
        workers.stop()
    assert shop.database.slots() == [shop.name.replace("-", "_")], "in place of the old one"


def test_what_stopped_a_source_is_told_after_its_worker_has_ended(
    shop: Shop, tmp_path: Path
) -> None:
    with Workers(FLOW, tmp_path, shop.environ) as workers:
        (worker,) = workers.started("source")
        eventually(lambda: len(shop.published()) == 2, "the snapshot is published")
        shop.database.run("ALTER TABLE orders RENAME TO sales")
        shop.database.run("INSERT INTO sales VALUES (3, 'paid')")
        eventually(lambda: worker.process.poll() == 1, "the worker ends")
        workers.running.remove(worker)
    found = shop.status()
    assert found["status"]["state"] == "stopped"
    assert "renamed to public.sales" in found["status"]["error"]
    assert found["late"] > 0


def test_check_prints_what_mends_all_of_it(shop: Shop) -> None:
    shop.source("check", str(FLOW))
    shop.database.run("ALTER TABLE orders REPLICA IDENTITY NOTHING")
    shown = shop.source("check", str(FLOW), "shop", code=1)
    assert 'ALTER TABLE "public"."orders" REPLICA IDENTITY DEFAULT;' in shown.splitlines()
    assert shop.database.slots() == [], "nothing is changed"


def test_a_source_that_is_not_there_is_not_found(shop: Shop) -> None:
    assert shop.source("status", f"{shop.name}.nobody", code=1) == ""
