"""SqlSink on real databases: types, keys, refusals, and never an older state."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from datetime import UTC, date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sql_items import Database, Line, Rich, rich
from sqlalchemy import select, text

from trunkline import errors
from trunkline.connectors.contract import make_event
from trunkline.connectors.sql import SqlSink
from trunkline.event import Event, join_key
from trunkline.params import Secret


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/mart.db"
    else:
        name = {"postgres": "postgres_dsn", "mariadb": "mariadb_url"}[request.param]
        url = request.getfixturevalue(name)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def postgres(postgres_dsn: str) -> Iterator[Database]:
    database = Database(postgres_dsn)
    yield database
    database.close()


@pytest.fixture
def mariadb(mariadb_url: str) -> Iterator[Database]:
    database = Database(mariadb_url)
    yield database
    database.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/mart.db")
    yield database
    database.close()


def put(key: str, offset: int, count: int = 1, **place: Any) -> Event[Any]:
    return make_event(key, rich(key, count=count), offset=offset, **place)


def gone(key: str, offset: int, **place: Any) -> Event[Any]:
    return make_event(key, change="delete", offset=offset, **place)


def counts(db: Database) -> dict[str, int]:
    return dict(db.rows("id, count"))  # type: ignore[arg-type]


# Values.


def test_every_type_comes_back_as_it_went_in(db: Database) -> None:
    value: Any = rich("a")
    db.deliver([make_event("a", value)])
    with db.engine.connect() as connection:
        (row,) = connection.execute(select(db.sink()._table)).mappings()
    found: Any = dict(row)
    found["at"] = found["at"].replace(tzinfo=found["at"].tzinfo or UTC)  # zoneless are UTC
    assert found == value


def test_nulls_are_null(db: Database) -> None:
    db.deliver([make_event("a", rich("a", count=None, address=None))])
    assert db.rows("count IS NULL, address IS NULL") == [(True, True)]


def test_columns_choose_and_rename(db: Database) -> None:
    names = {"id": "code", "price": "amount"}
    db.deliver([put("a", 1)], columns=names, key="code")
    ((code, amount),) = db.rows("code, amount")
    assert (code, Decimal(amount)) == ("a", Decimal("1234.50"))


def test_a_table_in_a_schema(postgres: Database) -> None:
    schema = f"s_{postgres.table}"
    postgres.run(f"CREATE SCHEMA {schema}")
    postgres.deliver([put("a", 1)], table=f"{schema}.mart")
    with postgres.engine.connect() as connection:
        assert connection.execute(text(f"SELECT id FROM {schema}.mart")).scalar() == "a"
    postgres.run(f"DROP SCHEMA {schema} CASCADE")


# Keys.


def test_keys_differ_by_every_letter(db: Database) -> None:
    keys = ["a", "A", "e", "é", "ß", "ss", "日本"]
    db.deliver([put(key, n) for n, key in enumerate(keys)])
    assert {key for (key,) in db.rows("id")} == set(keys)


def line(number: int, offset: int, amount: int = 1) -> Event[Any]:
    value = Line(order="o,1", number=number, day=date(2024, 2, 29), amount=amount)
    return make_event(join_key(["o,1", str(number), "2024-02-29"]), value, offset=offset)


def test_composite_keys(db: Database) -> None:
    key = ["order", "number", "day"]
    delete = make_event('["o,1","2","2024-02-29"]', change="delete", offset=9)
    batch = [line(1, 1), line(2, 2), line(1, 3, amount=5)]
    db.deliver(batch, [delete], batch[:2], type=Line, key=key)
    assert db.rows("number, amount") == [(1, 5)]


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("big", str(2**62)),
        ("day", "2024-02-29"),
        ("uuid", "12345678-1234-5678-1234-567812345678"),
        ("price", "1234.50"),
        ("active", "true"),
        ("count", "1"),
    ],
)
def test_the_text_of_a_delete_finds_a_key_of_any_type(
    sqlite: Database, postgres: Database, column: str, key: str
) -> None:
    for db in (sqlite, postgres):
        db.deliver([put("a", 1)], key=column)
        assert len(db.rows()) == 1
        db.deliver([gone(key, 2)], key=column)
        assert db.rows() == []


@pytest.mark.parametrize("key", ["twelve", "", '["1","2"]'])
def test_a_delete_whose_key_cannot_be_is_rejected(sqlite: Database, key: str) -> None:
    with pytest.raises(errors.Rejected, match="key"):
        sqlite.deliver([gone(key, 1)], key="big")


def test_a_truncate_is_rejected(sqlite: Database) -> None:
    with pytest.raises(errors.Rejected, match="truncate"):
        sqlite.deliver([make_event("", change="truncate", offset=1)])


# Refusals.


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
        mariadb.run("CREATE TABLE {table} (id VARCHAR(3) PRIMARY KEY, count TINYINT)")
        some = {"id": "id", "count": "count"}
        with pytest.raises(errors.PartialFailure) as caught:
            mariadb.deliver([put("a", 1), put("b", 2, count=1000), put("long", 3)], columns=some)
        assert sorted(caught.value.failures) == [1, 2]
    finally:
        mariadb.run("SET GLOBAL sql_mode = DEFAULT")


def test_moments_are_utc_in_a_column_without_zone(postgres: Database) -> None:
    role = f"tokyo_{postgres.table}"
    postgres.run(f"CREATE ROLE {role} LOGIN SUPERUSER")
    postgres.run(f"ALTER ROLE {role} SET timezone = 'Asia/Tokyo'")
    postgres.run("CREATE TABLE {table} (id TEXT PRIMARY KEY, at TIMESTAMP)")
    elsewhere = Database(str(postgres.engine.url.set(username=role)))
    elsewhere.deliver([put("a", 1)], table=postgres.table, columns={"id": "id", "at": "at"})
    elsewhere.close()
    assert postgres.rows("at") == [(rich("a")["at"].replace(tzinfo=None),)]
    postgres.run(f"DROP OWNED BY {role}")
    postgres.run(f"DROP ROLE {role}")


def test_moments_are_utc_on_a_server_elsewhere(mariadb: Database) -> None:
    mariadb.run("SET GLOBAL time_zone = '+09:00'")
    try:
        mariadb.run("CREATE TABLE {table} (id VARCHAR(9) PRIMARY KEY, at TIMESTAMP(6) NULL)")
        mariadb.deliver([put("a", 1)], columns={"id": "id", "at": "at"})
    finally:
        mariadb.run("SET GLOBAL time_zone = DEFAULT")
    ((seconds,),) = mariadb.rows("UNIX_TIMESTAMP(at)")
    assert float(seconds) == rich("a")["at"].timestamp()


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
        with pytest.raises(errors.Retryable):
            await sink.deliver([put("a", 1), put("b", 2)])
        await sink.close()

    asyncio.run(run())


def test_a_cut_connection_is_unavailable_and_mends(postgres: Database) -> None:
    async def run() -> None:
        sink = postgres.sink()
        await sink.open()
        await sink.deliver([put("a", 1)])
        postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'trunkline' AND state = 'idle' AND pid <> pg_backend_pid()"
        )
        with pytest.raises(errors.Unavailable):
            await sink.deliver([put("a", 2, count=2)])
        await sink.deliver([put("a", 2, count=2)])
        await sink.close()

    asyncio.run(run())
    assert counts(postgres) == {"a": 2}


def test_a_lock_held_too_long_is_unavailable(postgres: Database) -> None:
    postgres.deliver([put("a", 1)])
    with postgres.engine.begin() as holder:
        holder.execute(text(f"SELECT 1 FROM {postgres.table} FOR UPDATE"))
        with pytest.raises(errors.Unavailable, match="timeout"):
            postgres.deliver([put("a", 2)], timeout=1)


# Effectively-once.


def test_what_another_partition_or_inbox_says_is_not_older(db: Database) -> None:
    """After more partitions, or under another destination's name, offsets begin anew."""
    db.deliver([put("a", 1000, count=1)])
    db.deliver([put("a", 5, count=2, partition=3)])
    assert counts(db) == {"a": 2}
    db.deliver([put("a", 0, count=3, topic="other.mart.inbox")])
    assert counts(db) == {"a": 3}


def test_an_event_of_a_retry_tier_keeps_its_place_in_the_inbox(db: Database) -> None:
    late = put("a", 99, count=1, topic="f.d.retry.10s")
    late.headers = [*late.headers, ("tl_seq", b"4")]
    db.deliver([put("a", 5, count=2, topic="f.d.inbox")], [late])
    assert counts(db) == {"a": 2}


def test_without_positions_the_last_delivered_stays(db: Database) -> None:
    db.deliver([put("a", 2, count=2)], [put("a", 1, count=1)], positions=None)
    assert counts(db) == {"a": 1}


def test_an_older_writer_never_wins_a_race(db: Database) -> None:
    """A worker that lost its partition may still be writing while its successor does."""
    if db.kind == "sqlite":
        pytest.skip("one writer at a time")

    async def run() -> None:
        old, new = db.sink(), db.sink()
        await old.open()
        await new.open()
        for start in range(0, 400, 10):
            keys = [f"k{start + n}" for n in range(10)]
            late = [put(key, start + 1, count=1) for key in keys]
            then = [gone(key, start + 2) for key in keys]
            await asyncio.gather(
                old.deliver(late), new.deliver(late[:5] + then[:5]), return_exceptions=False
            )
            await asyncio.gather(old.deliver(late), new.deliver(then))
        await old.close()
        await new.close()

    asyncio.run(run())
    assert db.rows("id") == []


@pytest.mark.parametrize("seed", range(5))
def test_any_repeats_end_on_the_newest_state(sqlite: Database, seed: int) -> None:
    """Random changes of few keys, in random batches; after each, a random part comes again."""
    dice = random.Random(seed)
    inbox = [
        gone(key, n) if dice.random() < 0.3 else put(key, n, count=n)
        for n in range(200)
        for key in [dice.choice("abcde")]
    ]
    batches, at = [], 0
    while at < len(inbox):
        size = dice.randint(1, 20)
        batches.append(inbox[at : at + size])
        begin = dice.randint(0, at)
        batches.append(inbox[begin : begin + dice.randint(1, at + 1)][: at + size - begin])
        at += size
    sqlite.deliver(*batches)
    expected: dict[str, int] = {}
    for event in inbox:
        if event.change == "delete":
            expected.pop(event.key, None)
        else:
            expected[event.key] = event.data["count"]
    assert counts(sqlite) == expected


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
    db.run("CREATE TABLE {table} (id VARCHAR(50) PRIMARY KEY, count INT)")
    with pytest.raises(errors.ConfigurationError, match=r"lacks column .*price"):
        db.deliver()


def test_a_key_needs_a_unique_index(db: Database) -> None:
    db.run("CREATE TABLE {table} (id VARCHAR(50), count INT)")
    some = {"id": "id", "count": "count"}
    with pytest.raises(errors.ConfigurationError, match="unique index on id"):
        db.deliver(columns=some)
    db.run("CREATE UNIQUE INDEX {table}_key ON {table} (id)")
    db.deliver([put("a", 1)], [put("a", 2, count=2)], columns=some)
    assert counts(db) == {"a": 2}


def test_a_column_that_nobody_fills_is_named(db: Database) -> None:
    db.run(
        "CREATE TABLE {table} (id VARCHAR(50) PRIMARY KEY, count INT, "
        "made INT NOT NULL, note VARCHAR(5) DEFAULT 'x' NOT NULL)"
    )
    with pytest.raises(errors.ConfigurationError, match="NOT NULL column made"):
        db.deliver(columns={"id": "id", "count": "count"})


def test_another_unique_index_is_refused_only_where_it_does_harm(db: Database) -> None:
    db.run("CREATE TABLE {table} (id VARCHAR(50) PRIMARY KEY, count INT UNIQUE)")
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
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_a_wrong_url_is_told_without_its_secrets(url: str, message: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=message) as caught:
        SqlSink(Secret(url), Rich, table="t")
    assert "hunter2" not in str(caught.value)


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
