"""The page's flow of a database, through a gateway and a worker to PostgreSQL: exact answers,
refusals, and each command once, whatever is killed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from docs_pages import ROOT, blocks_of
from gateway_kit import Caller, GatewayProcess, client_key, order, wait_ready
from sql_items import Database
from trunkline.params import Backbone
from worker_kit import Workers, environ_of

pytestmark = pytest.mark.timeout(400)


def on_table(flow: str, name: str, table: str) -> str:
    """The page's flow under another name, on a table of this test alone."""
    calls = f'create_table=True, calls="{table}_tl_pos"'
    named = flow.replace('"stock-desk"', f'"{name}"').replace("articles SET", f"{table} SET")
    return named.replace("create_table=True", calls).replace("FROM articles", f"FROM {table}")


def stocked(postgres: Database) -> None:
    """One article."""
    postgres.run(
        "CREATE TABLE {table} (id TEXT PRIMARY KEY, quantity BIGINT CHECK (quantity < 9e15), "
        "price NUMERIC(20, 2))"
    )
    postgres.run("INSERT INTO {table} VALUES ('a', 9000000000000, 12345678901234567.10)")


def book(caller: Caller, number: int) -> str:
    """Take one, until there is an answer, with one key: the worker is killed meanwhile."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        key = f"book-{number}"
        body = order("a", 1)
        answer = caller.post("book_article", body, system="stock", key=key, prefer="wait=5")
        if answer.status_code == 200:
            return str(answer.json()["changed"])
        assert answer.status_code in (202, 503), answer.text
    raise AssertionError("no answer")


def test_an_old_database_is_asked_and_changed_once(
    bootstrap: str, registry_url: str, tmp_path: Path, topic: Any, postgres: Database
) -> None:
    page = ROOT / "docs" / "operations-of-systems.md"
    flow = next(block for block in blocks_of(page) if block.title == "stock.py")
    file, access, table = tmp_path / "stock.py", tmp_path / "access.toml", postgres.table
    file.write_text(on_table(flow.text, topic("stock-desk"), table))
    stocked(postgres)
    key = client_key(access, "crm", "stock/*")
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    environ = environ_of(backbone, stock_url=postgres.engine.url.render_as_string(False))
    with (
        Workers(file, tmp_path, environ) as workers,
        GatewayProcess(file, access, environ, tmp_path / "gateway.log") as gateway,
    ):
        (worker,) = workers.started("deliver")
        wait_ready(gateway)
        caller = Caller(gateway.url, key)

        def post(operation: str, id_: str, number: int, **more: Any) -> Any:
            return caller.post(operation, order(id_, number), system="stock", **more)

        found = post("get_article", "a", 0)
        assert found.status_code == 200, found.text
        assert found.json() == {
            "id": "a",
            "quantity": "9000000000000",
            "price": "12345678901234567.10",
        }
        assert post("get_article", "none", 0).status_code == 404
        missed = post("book_article", "none", 1, key="k0")
        assert (missed.status_code, missed.json()["system_status"]) == (404, 404)
        refused = post("book_article", "a", -(10**15) * 9, key="k1")
        assert (refused.status_code, refused.json()["system_code"]) == (422, "23514")
        shown = caller.decide(
            "/v1/systems/stock/operations/book_article?validate_only=true", order("a", 2)
        )
        assert shown.json()["values"] == {"id": "a", "number": 2}, shown.text

        with ThreadPoolExecutor(8) as pool:
            booked = pool.map(partial(book, caller), range(24))
            time.sleep(0.7)
            workers.kill(worker)
            workers.started("deliver")
            assert set(booked) == {"1"}
        assert postgres.rows("quantity") == [(9_000_000_000_000 - 24,)]
        caller.close()
        gateway.stop()
        workers.stop()
