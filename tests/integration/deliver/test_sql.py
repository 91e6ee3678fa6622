"""SqlSink on real databases: types, keys, and never an older state."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from sql_items import Database, Line, counts, gone, put, rich
from trunkline import errors
from trunkline.connectors.contract import make_event
from trunkline.event import Event, join_key

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
        mariadb.run("CREATE TABLE {table} (id {key} PRIMARY KEY, at TIMESTAMP(6) NULL)")
        mariadb.deliver([put("a", 1)], columns={"id": "id", "at": "at"})
    finally:
        mariadb.run("SET GLOBAL time_zone = DEFAULT")
    ((seconds,),) = mariadb.rows("UNIX_TIMESTAMP(at)")
    assert float(seconds) == rich("a")["at"].timestamp()


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
        db.deliver([make_event(key, rich("a"), offset=1)], key=column)
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
