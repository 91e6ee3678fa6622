"""What SqlSink refuses, on real databases: events, tables, arguments."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sql_items import Database, Rich, counts, put, rich
from trunkline import errors
from trunkline.connectors.contract import make_event
from trunkline.connectors.sql import SqlSink
from trunkline.event import Event
from trunkline.params import Secret

# Events.


def test_a_refused_event_does_not_take_earlier_ones_of_its_key_along(db: Database) -> None:
    bad = make_event("a", rich("a", color=None), offset=2)
    with pytest.raises(errors.PartialFailure) as caught:
        db.deliver([put("a", 1, count=7), bad, put("b", 3)])
    assert {i: type(e) for i, e in caught.value.failures.items()} == {1: errors.Rejected}
    assert "color" in str(caught.value.failures[1])
    assert counts(db) == {"a": 7, "b": 1}


@pytest.mark.parametrize(
    "bad",
    [{"color": "nul \x00 in text"}, {"big": 2**70}, {"price": Decimal("1e20")}],
    ids=["nul", "overflow", "precision"],
)
def test_values_the_database_cannot_hold_are_rejected(postgres: Database, bad: Any) -> None:
    with pytest.raises(errors.PartialFailure) as caught:
        postgres.deliver([put("a", 1), make_event("b", rich("b", **bad), offset=2)])
    assert {i: type(e) for i, e in caught.value.failures.items()} == {1: errors.Rejected}
    assert counts(postgres) == {"a": 1}


def test_what_is_no_number_is_kept_or_rejected(db: Database) -> None:
    odd = make_event("b", rich("b", ratio=float("nan")), offset=2)
    if db.kind == "postgresql":
        db.deliver([put("a", 1), odd])
        assert db.rows("id") == [("a",), ("b",)]
        return
    with pytest.raises(errors.PartialFailure) as caught:
        db.deliver([put("a", 1), odd])
    assert {i: type(e) for i, e in caught.value.failures.items()} == {1: errors.Rejected}


def test_a_lenient_server_cuts_nothing_off(mariadb: Database) -> None:
    mariadb.run("SET GLOBAL sql_mode = ''")
    try:
        mariadb.run("CREATE TABLE {table} (id {key} PRIMARY KEY, count TINYINT)")
        some = {"id": "id", "count": "count"}
        long = put("long" * 20, 3)
        with pytest.raises(errors.PartialFailure) as caught:
            mariadb.deliver([put("a", 1), put("b", 2, count=1000), long], columns=some)
        assert sorted(caught.value.failures) == [1, 2]
    finally:
        mariadb.run("SET GLOBAL sql_mode = DEFAULT")


def test_bytes_that_are_no_avro_are_rejected(sqlite: Database) -> None:
    def decode(_: bytes) -> Any:
        raise errors.SerializationError("bad magic byte")

    bad: Event[Any] = Event(key="b", value=b"x", headers=[], decode=decode, offset=2)
    with pytest.raises(errors.PartialFailure, match="1 events") as caught:
        sqlite.deliver([put("a", 1), bad])
    assert "bad magic byte" in str(caught.value.failures[1])


def test_a_constraint_of_the_users_own_rejects(db: Database) -> None:
    db.deliver([put("a", 1)])
    if db.kind == "sqlite":
        db.run(
            "CREATE TRIGGER small BEFORE INSERT ON {table} WHEN NEW.count > 9 "
            "BEGIN SELECT RAISE(ABORT, 'too many'); END"
        )
    else:
        db.run("ALTER TABLE {table} ADD CONSTRAINT small CHECK (count < 10)")
    with pytest.raises(errors.PartialFailure) as caught:
        db.deliver([put("b", 2), put("c", 3, count=10)])
    assert list(caught.value.failures) == [1]
    assert counts(db) == {"a": 1, "b": 1}


def test_a_trigger_of_the_users_own_rejects(postgres: Database) -> None:
    postgres.deliver([put("a", 1)])
    name = f"refuse_{postgres.table}"
    postgres.run(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN IF NEW.count > 9 THEN RAISE EXCEPTION 'too many'; END IF; RETURN NEW; END$$"
    )
    postgres.run(
        f"CREATE TRIGGER t BEFORE INSERT ON {{table}} FOR EACH ROW EXECUTE FUNCTION {name}()"
    )
    with pytest.raises(errors.PartialFailure) as caught:
        postgres.deliver([put("b", 2), put("c", 3, count=10)])
    assert "too many" in str(caught.value.failures[1])
    postgres.run(f"DROP FUNCTION {name} CASCADE")


def test_a_table_dropped_meanwhile_is_not_the_events_fault(postgres: Database) -> None:
    async def run() -> None:
        sink = postgres.sink()
        await sink.open()
        postgres.run("DROP TABLE {table}")
        with pytest.raises(errors.Unavailable):
            await sink.deliver([put("a", 1), put("b", 2)])
        await sink.close()

    asyncio.run(run())


@pytest.mark.parametrize("nullable", [False, True])
def test_a_column_added_meanwhile_that_nobody_fills_is_not_the_events_fault(
    db: Database, nullable: bool
) -> None:
    """``nullable``: of the very column that is refused for a null, where the row is to blame."""
    wanted = errors.Rejected if nullable else errors.Unavailable
    null = "count INT NOT NULL" if nullable else "count INT, made INT NOT NULL"
    columns = {"id": "id", "count": "count"}

    async def run() -> None:
        db.run("CREATE TABLE {table} (id {key} PRIMARY KEY, count INT)")
        sink = db.sink(columns=columns)
        await sink.open()
        db.run("DROP TABLE {table}")
        db.run(f"CREATE TABLE {{table}} (id {{key}} PRIMARY KEY, {null})")
        with pytest.raises(wanted, match="count" if nullable else "made"):
            await sink.deliver([put("a", 1, count=None)])
        await sink.close()

    asyncio.run(run())


# Tables.


def test_a_missing_table_is_told_with_its_ddl(db: Database) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        db.deliver(create_table=False)
    message = str(caught.value)
    assert f"table {db.table} is missing" in message
    assert f"table {db.table}_tl_pos is missing" in message
    ddl = [part for part in message.partition("\n\n")[2].split(";") if part.strip()]
    for statement in ddl:
        db.run(statement)
    db.deliver([put("a", 1)], create_table=False)


def test_a_table_that_cannot_be_created_is_told(postgres: Database) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"nowhere\.t cannot be created"):
        postgres.deliver(table="nowhere.t")


def test_without_the_right_to_create_a_table_that_is_there_will_do(postgres: Database) -> None:
    role = f"poor_{postgres.table}"
    postgres.deliver([put("a", 1)])
    postgres.run(f"CREATE ROLE {role} LOGIN")
    postgres.run(f"GRANT ALL ON {{table}}, {{table}}_tl_pos TO {role}")
    poor = Database(str(postgres.engine.url.set(username=role)))
    poor.deliver([put("b", 2)], table=postgres.table)
    poor.close()
    postgres.run(f"DROP OWNED BY {role}")
    postgres.run(f"DROP ROLE {role}")
    assert counts(postgres) == {"a": 1, "b": 1}


def test_a_missing_column_is_named(db: Database) -> None:
    db.run("CREATE TABLE {table} (id {key} PRIMARY KEY, count INT)")
    with pytest.raises(errors.ConfigurationError, match=r"lacks column .*price"):
        db.deliver()


def test_a_key_needs_a_unique_index(db: Database) -> None:
    db.run("CREATE TABLE {table} (id {key}, count INT)")
    some = {"id": "id", "count": "count"}
    with pytest.raises(errors.ConfigurationError, match="unique index on id"):
        db.deliver(columns=some)
    db.run("CREATE UNIQUE INDEX {table}_key ON {table} (id)")
    db.deliver([put("a", 1)], [put("a", 2, count=2)], columns=some)
    assert counts(db) == {"a": 2}


def test_a_column_that_nobody_fills_is_named(db: Database) -> None:
    db.run(
        "CREATE TABLE {table} (id {key} PRIMARY KEY, count INT, "
        "made INT NOT NULL, note VARCHAR(5) DEFAULT 'x' NOT NULL)"
    )
    with pytest.raises(errors.ConfigurationError, match="NOT NULL column made"):
        db.deliver(columns={"id": "id", "count": "count"})


def test_another_unique_index_is_refused_only_where_it_does_harm(db: Database) -> None:
    db.run("CREATE TABLE {table} (id {key} PRIMARY KEY, count INT UNIQUE)")
    some = {"id": "id", "count": "count"}
    batch = [put("a", 1), put("b", 2)]
    if db.kind == "mysql":
        with pytest.raises(errors.ConfigurationError, match="another unique index, on count"):
            db.deliver(batch, columns=some)
        return
    with pytest.raises(errors.PartialFailure) as caught:
        db.deliver(batch, columns=some)
    assert list(caught.value.failures) == [1]


def test_several_workers_create_the_table_at_once(db: Database) -> None:
    async def run() -> None:
        sinks = [db.sink() for _ in range(4)]
        await asyncio.gather(*(sink.open() for sink in sinks))
        for sink in sinks:
            await sink.close()

    asyncio.run(run())
    assert db.rows() == []


# Arguments.


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hunter2", "not a database URL"),
        ("oracle://me:hunter2@host/db", "oracle:// is not supported"),
    ],
)
def test_a_wrong_url_is_told_without_its_secrets(url: str, message: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=message) as caught:
        SqlSink(Secret(url), Rich, table="t")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb", "mysql"])
@pytest.mark.parametrize(
    "password",
    ["x@hunter2", "hunter2@x", "x@hunter2/y", "x/y@hunter2", "x@hunter2?y", "x@hunter2:1", "x@"],
)
def test_a_password_that_is_not_encoded_is_told_and_never_shown(scheme: str, password: str) -> None:
    """Behind its @ would be the host, which each error of the driver names."""
    with pytest.raises(errors.ConfigurationError, match="must be percent-encoded") as caught:
        SqlSink(Secret(f"{scheme}://me:{password}@db:5432/shop"), Rich, table="t")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
@pytest.mark.parametrize("password", ["hunter2/x", "x/hunter2", "hunter2%x", "x%hunter2", "%zz#?"])
def test_other_characters_are_the_passwords_own(scheme: str, password: str) -> None:
    """SQLAlchemy reads them so. Should the server be away, its error does not show them."""
    url = Secret(f"{scheme}://me:{password}@127.0.0.1:1/shop")
    sink = SqlSink(url, Rich, table="t", timeout=1)
    assert sink._engine.url.password == password
    with pytest.raises(errors.Unavailable) as caught:
        asyncio.run(sink.open())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_a_database_in_memory_is_built_for_tests_and_never_written_to(url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="needs a file"):
        asyncio.run(SqlSink(url, Rich, table="t").open())


def test_wrong_names_are_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with pytest.raises(errors.ConfigurationError, match="key code is no column"):
        SqlSink(url, Rich, table="t", key="code")
    with pytest.raises(errors.ConfigurationError, match="columns= names code"):
        SqlSink(url, Rich, table="t", columns={"code": "id"})
    with pytest.raises(errors.ConfigurationError, match="no Avro schema"):
        SqlSink(url, dict, table="t")


@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [("postgresql://h/d", "psycopg2", "postgres"), ("mariadb://h/d", "pymysql", "mysql")],
)
def test_a_missing_driver_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, url: str, driver: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(errors.MissingExtra, match=rf"trunkline\[{extra}\]"):
        SqlSink(url, Rich, table="t")
