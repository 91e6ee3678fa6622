"""Statements of operations on real databases: once, exact, and read-only where they only read."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import inspect, text

from sql_items import Database
from trunkline.connectors.base import SqlRequest
from trunkline.connectors.sql import SqlDatabase
from trunkline.errors import ConfigurationError, DeliveryError, Rejected, Retryable, Unavailable
from trunkline.streams.journal.doubt import leaves_doubt


class Calls:
    """A database with a table of orders, and the sink that runs statements on it."""

    def __init__(self, db: Database) -> None:
        self.db = db
        db.run(
            "CREATE TABLE {table} (id {key} PRIMARY KEY, quantity INT NOT NULL, "
            "shipped INT NOT NULL DEFAULT 0, CHECK (quantity > 0))"
        )
        db.run("INSERT INTO {table} (id, quantity) VALUES ('o-1', 1)")
        db.run("INSERT INTO {table} (id, quantity) VALUES ('o-2', 2)")

    def run(
        self,
        sql: str,
        values: Mapping[str, Any] | None = None,
        id: str = "c-1",
        *,
        reads: bool = False,
        one: bool = False,
        **options: Any,
    ) -> Any:
        """The answer of one call."""
        request = SqlRequest(sql.replace("{table}", self.db.table), values or {}, reads, one)

        async def called() -> bytes:
            sink = self.sink(**options)
            try:
                await sink.open()
                return (await sink.call(request, id)).body
            finally:
                await sink.close()

        return orjson.loads(asyncio.run(called()))

    def sink(self, **options: Any) -> SqlDatabase:
        known: dict[str, Any] = {"calls": f"{self.db.table}_tl_pos", "create_table": True}
        return SqlDatabase(self.db.url, **{**known, **options})

    def quantities(self) -> dict[str, int]:
        return dict(self.db.rows("id, quantity"))


@pytest.fixture
def calls(db: Database) -> Calls:
    return Calls(db)


ADD = "UPDATE {table} SET quantity = quantity + :more WHERE id = :id AND shipped = 0"


def refused(calls: Calls, *args: Any, **more: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        calls.run(*args, **more)
    return caught.value


def test_a_command_is_done_once_however_often_it_comes(calls: Calls) -> None:
    first = calls.run(ADD, {"id": "o-1", "more": 5, "unused": "x"})
    assert first == {"changed": 1}
    assert calls.run(ADD, {"id": "o-1", "more": 5}) == first
    assert calls.quantities() == {"o-1": 6, "o-2": 2}
    assert calls.run(ADD, {"id": "o-1", "more": 5}, id="c-2") == first
    assert calls.quantities()["o-1"] == 11


def test_the_same_call_in_several_workers_at_once_is_done_once(calls: Calls) -> None:
    begin = threading.Barrier(4)
    calls.run(ADD, {"id": "o-2", "more": 1}, id="first")  # the table of calls is there

    def run(_: int) -> Any:
        begin.wait()
        for _ in range(20):  # one that was behind another may be told to come again
            with suppress(Retryable):
                return calls.run(ADD, {"id": "o-1", "more": 1})
        raise AssertionError("never taken")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [{"changed": 1}] * 4
    assert calls.quantities()["o-1"] == 2


def test_old_calls_are_forgotten_some_at_a_time(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an index: of a table that lacks it it is made."""
    monkeypatch.setattr("trunkline.connectors.sql.calls.FORGOTTEN", 2)
    monkeypatch.setattr("trunkline.connectors.sql.calls.FORGETS_SOON", 0.0)
    calls.run(ADD, {"id": "o-1", "more": 1}, id="first")
    known, old = f"{calls.db.table}_tl_pos", datetime.now(UTC) - timedelta(days=8)
    with calls.db.engine.begin() as connection:
        for known_id in (f"old-{number}" for number in range(5)):
            connection.execute(
                text(f"INSERT INTO {known} (tl_call, tl_at) VALUES (:id, :at)"),
                {"id": known_id.encode() if calls.db.kind == "mysql" else known_id, "at": old},
            )
        (index,) = inspect(connection).get_indexes(known)
    assert index["column_names"] == ["tl_at"]

    async def called_on_one_sink() -> list[int]:
        sink, left = calls.sink(), []
        await sink.open()
        for number in range(4):
            request = SqlRequest(ADD.replace("{table}", calls.db.table), {"id": "o-1", "more": 1})
            await sink.call(request, f"n-{number}")
            with calls.db.engine.connect() as connection:
                left.append(connection.execute(text(f"SELECT count(*) FROM {known}")).scalar_one())
        await sink.close()
        return left

    assert asyncio.run(called_on_one_sink()) == [5, 4, 4, 5], "two, two, and the last one"


def test_without_the_table_a_repeat_is_done_again(calls: Calls) -> None:
    for _ in range(2):
        calls.run(ADD, {"id": "o-1", "more": 1}, calls=None)
    assert calls.quantities()["o-1"] == 3


def test_a_command_that_finds_no_row_is_refused_and_may_come_again(calls: Calls) -> None:
    failure = refused(calls, ADD, {"id": "o-9", "more": 1})
    assert (type(failure), failure.status) == (Rejected, 404)
    calls.db.run("INSERT INTO {table} (id, quantity) VALUES ('o-9', 1)")
    assert calls.run(ADD, {"id": "o-9", "more": 1}) == {"changed": 1}


def test_what_the_database_refuses_is_undone_and_leaves_no_doubt(calls: Calls) -> None:
    taken = refused(calls, "INSERT INTO {table} (id, quantity) VALUES (:id, 1)", {"id": "o-1"})
    bad = refused(calls, ADD, {"id": "o-1", "more": -9})
    assert [type(failure) for failure in (taken, bad)] == [Rejected, Rejected]
    assert (taken.status, bad.status) == (409, 422)
    assert taken.code
    assert not leaves_doubt(taken)
    assert calls.quantities() == {"o-1": 1, "o-2": 2}
    assert calls.run(ADD, {"id": "o-1", "more": 1}) == {"changed": 1}  # the id is not taken


def test_a_wrong_statement_is_a_defect_and_not_tried_for_ever(calls: Calls) -> None:
    if calls.db.kind == "sqlite":
        pytest.skip("SQLite does not tell it from others")
    failure = refused(calls, "UPDATE {table} SETT quantity = 1", {})
    assert (type(failure), failure.status, failure.unsent) == (Rejected, None, True)
    assert "have no value" in str(refused(calls, ADD, {"id": "o-1"}))


def test_values_are_never_part_of_the_statement(calls: Calls) -> None:
    evil = "o-1' OR '1'='1"
    assert refused(calls, ADD, {"id": evil, "more": 1}).status == 404
    found = calls.run("SELECT ':id' AS a, '12:30;' AS b, :id AS c", {"id": evil}, reads=True)
    assert found["rows"] == [{"a": ":id", "b": "12:30;", "c": evil}]


def test_rows_that_a_command_returns_are_its_answer(calls: Calls) -> None:
    added = "INSERT INTO {table} (id, quantity) VALUES (:id, :q) RETURNING id, quantity"
    found = calls.run(added, {"id": "o-3", "q": 3})
    assert found["changed"] == 1
    assert (found["rows"][0]["id"], int(found["rows"][0]["quantity"])) == ("o-3", 3)
    assert calls.run(added, {"id": "o-3", "q": 3}) == found


def test_a_query_that_would_change_something_cannot(calls: Calls) -> None:
    failure = refused(calls, "DELETE FROM {table} WHERE id = :id", {"id": "o-1"}, reads=True)
    assert isinstance(failure, DeliveryError)
    assert calls.quantities() == {"o-1": 1, "o-2": 2}
    assert calls.run(ADD, {"id": "o-1", "more": 1}) == {"changed": 1}


def test_a_query_of_one_row(calls: Calls) -> None:
    one = "SELECT id, quantity AS q FROM {table} WHERE id LIKE :id"
    assert calls.run(one, {"id": "o-2"}, reads=True, one=True)["id"] == "o-2"
    assert refused(calls, one, {"id": "o-9"}, reads=True, one=True).status == 404
    assert "more than one row" in str(refused(calls, one, {"id": "o-%"}, reads=True, one=True))


def test_an_answer_is_bounded(calls: Calls) -> None:
    many = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) "
        "SELECT i, :pad AS pad FROM n ORDER BY i DESC"
    )
    found = calls.run(many, {"pad": "x"}, reads=True, max_rows=300)
    assert (len(found["rows"]), found["more"]) == (300, True)
    assert int(found["rows"][0]["i"]) == 900
    assert "850000 bytes" in str(refused(calls, many, {"pad": "x" * 2_000}, reads=True))


def test_a_connection_can_be_used_after_each_of_them(calls: Calls) -> None:
    """One connection: what a query sets must be gone in the next call."""
    sink = calls.sink(concurrency=1, max_rows=1)

    async def run(sql: str, id: str, *, reads: bool = False) -> Any:
        request = SqlRequest(sql.replace("{table}", calls.db.table), {}, reads)
        return orjson.loads((await sink.call(request, id)).body)

    async def steps() -> None:
        await sink.open()
        found = await run("SELECT id FROM {table} ORDER BY id", "q", reads=True)
        assert (found["rows"], found["more"]) == ([{"id": "o-1"}], True)
        with pytest.raises(DeliveryError):
            await run("SELECT nothing FROM {table}", "q", reads=True)
        inner = "SELECT id FROM (SELECT id FROM {table}) AS t"
        both = f"UPDATE {{table}} SET quantity = 7 WHERE id IN ({inner})"
        assert await run(both, "c") == {"changed": 2}
        await sink.close()

    asyncio.run(steps())


EXACT: dict[str, Any] = {
    "long": 2**63 - 1,
    "price": Decimal("12345678901234567890.10"),
    "day": date(2024, 2, 29),
    "at": datetime(2024, 2, 29, 12, 30, 0, 123_456, tzinfo=UTC),
    "raw": b"\x00\xff",
    "uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "label": "é:x%s",
}
SAID = {
    "long": "9223372036854775807",
    "price": "12345678901234567890.10",
    "day": "2024-02-29",
    "at": "2024-02-29T12:30:00.123456+00:00",
    "raw": "AP8=",
    "uuid": "12345678-1234-5678-1234-567812345678",
    "label": "é:x%s",
    "doc": {"n": 12345678901234567890},
    "nothing": None,
}


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_every_value_goes_in_and_comes_out_exactly(
    server: str, request: pytest.FixtureRequest
) -> None:
    db: Database = request.getfixturevalue(server)
    pg = db.kind == "postgresql"
    db.run(
        f"CREATE TABLE {{table}} (id {{key}}, `long` BIGINT, price NUMERIC(22, 2), day DATE, "
        f"`at` {'TIMESTAMPTZ' if pg else 'TIMESTAMP(6) NULL'}, raw {'BYTEA' if pg else 'BLOB'}, "
        f"uuid UUID, label TEXT, doc JSON, nothing INT)".replace("`", '"' if pg else "`")
    )
    names = [f'"{n}"' if pg else f"`{n}`" for n in EXACT]
    params = ", ".join(f":{name}" for name in EXACT)
    insert = f"INSERT INTO {db.table} ({', '.join(names)}, doc) VALUES ({params}, :doc)"
    doc = '{"n": 12345678901234567890}'

    async def run() -> Any:
        sink = SqlDatabase(db.url, calls=None)
        await sink.open()
        try:
            await sink.call(SqlRequest(insert, {**EXACT, "doc": doc}), "c")
            columns = ", ".join([*names, "doc", "nothing", "(SELECT COUNT(*) FROM (SELECT 1) t) n"])
            found = await sink.call(
                SqlRequest(f"SELECT {columns} FROM {db.table}", {}, True, True), "q"
            )
            return found.body
        finally:
            await sink.close()

    body = asyncio.run(run())
    assert b"12345678901234567890" in body
    found = orjson.loads(body)
    assert found.pop("n") == "1"
    if not pg:  # MariaDB has JSON as text
        found["doc"] = orjson.loads(found["doc"])
    expected = orjson.loads(orjson.dumps(SAID | {"doc": orjson.Fragment(doc)}))
    assert found == expected


def test_a_table_of_calls_that_is_missing_is_told_with_its_ddl(calls: Calls) -> None:
    with pytest.raises(ConfigurationError, match=r"CREATE TABLE \S*tl_nowhere"):
        calls.run(ADD, {"id": "o-1", "more": 1}, calls="tl_nowhere", create_table=False)


def test_a_server_that_is_away_was_never_asked(calls: Calls) -> None:
    if calls.db.kind == "sqlite":
        pytest.skip("a file is never away")
    away = SqlDatabase(str(calls.db.engine.url.set(port=1).render_as_string(False)), timeout=2)
    request = SqlRequest("SELECT 1", {}, True)

    async def called() -> None:
        with suppress(Unavailable):
            await away.open()
        try:
            await away.call(request, "c")
        finally:
            await away.close()

    with pytest.raises(Unavailable) as caught:
        asyncio.run(called())
    assert caught.value.unsent


def test_a_connection_that_is_killed_before_the_commit_leaves_no_doubt(calls: Calls) -> None:
    """The server ends the session while the statement runs: what it did is undone."""
    kind, kill = calls.db.kind, threading.Event()
    if kind == "sqlite":
        pytest.skip("it has no sessions")
    wait = {"postgresql": "(SELECT 1 FROM (SELECT pg_sleep(20)) t)", "mysql": "SLEEP(20) + 1"}[kind]
    slow = f"UPDATE {{table}} SET quantity = quantity + {wait} WHERE id = 'o-1'"

    def killer() -> None:
        find = {
            "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE query LIKE 'UPDATE {calls.db.table}%' AND state = 'active'",
            "mysql": "SELECT id FROM information_schema.processlist "
            f"WHERE info LIKE 'UPDATE {calls.db.table}%'",
        }[kind]
        while not kill.wait(0.1):
            with calls.db.engine.begin() as connection:
                if found := connection.execute(text(find)).all():
                    if kind == "mysql":
                        connection.execute(text(f"KILL {found[0][0]}"))
                    return

    thread = threading.Thread(target=killer)
    thread.start()
    failure = refused(calls, slow, {})
    kill.set()
    thread.join()
    assert isinstance(failure, Unavailable)
    assert not leaves_doubt(failure)
    assert calls.quantities()["o-1"] == 1
    assert calls.run(ADD, {"id": "o-1", "more": 1}) == {"changed": 1}
