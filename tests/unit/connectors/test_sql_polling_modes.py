"""SqlPolling's modes on SQLite: what each finds, what each misses, and where it goes on."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from polling_kit import Polled, changes, looks, once, polled
from trunkline.connectors.sql import FullComparison, Increasing, SqlPolling, Timestamp
from trunkline.errors import AddressError, ConfigurationError, DataError, SourceError

OLD = "2026-01-01 00:00:00"


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[Polled]:
    with polled(f"sqlite:///{tmp_path}/erp.db") as database:
        yield database


@pytest.fixture
def items(erp: Polled) -> Polled:
    erp.run("CREATE TABLE {t} (id integer PRIMARY KEY, name text, changed_at timestamp)")
    for n, name in enumerate("abc", start=1):
        put(erp, n, name)
    return erp


def put(database: Polled, id: int, name: str | None, at: str | None = OLD) -> None:
    statement = "INSERT OR REPLACE INTO {t} (id, name, changed_at) VALUES (:id, :name, :at)"
    database.run(statement, id=id, name=name, at=at)


def source(database: Polled, by: Any = None, **more: Any) -> SqlPolling:
    by = Increasing("id", lag="0s") if by is None else by
    return SqlPolling(database.url, database.table, by=by, **{"interval": "20ms", **more})


def then(database: Polled, by: Any, *statements: str, **more: Any) -> list[tuple[str, str]]:
    """What is told of what was done behind a first look. A row 99 ends it, which all modes see."""
    position = once(source(database, by, **more))[-1].position
    for statement in statements:
        database.run(statement)
    put(database, 99, "end", "2026-06-01 00:00:00")
    ended = lambda got: "99" in [key for _, key in changes(got)]  # noqa: E731
    told = changes(looks(source(database, by, **more), position, until=ended))
    return [change for change in told if change[1] != "99"]


def test_an_increasing_column_finds_new_rows_in_its_order(items: Polled) -> None:
    assert changes(once(source(items, batch=2))) == [("create", f"{n}") for n in (1, 2, 3)]
    assert then(items, Increasing("id", lag="0s"), "INSERT INTO {t} VALUES (7, 'd', null)") == [
        ("create", "7")
    ]


def test_an_increasing_column_misses_updates_and_deletes(items: Polled) -> None:
    update, delete = "UPDATE {t} SET name = 'z' WHERE id = 1", "DELETE FROM {t} WHERE id = 2"
    assert then(items, Increasing("id", lag="0s"), update, delete) == []


def test_an_increasing_column_misses_what_is_committed_after_its_lag(items: Polled) -> None:
    items.run("UPDATE {t} SET id = 10 WHERE id = 3")
    late = "INSERT INTO {t} VALUES (9, 'late', null)"
    assert then(items, Increasing("id", lag="0s"), late) == []


def test_a_table_that_counts_anew_is_warned_of(
    items: Polled, caplog: pytest.LogCaptureFixture
) -> None:
    position = once(source(items))[-1].position
    items.run("DELETE FROM {t} WHERE id > 1")
    with caplog.at_level(logging.WARNING, "trunkline.connectors.sql.polling"):
        once(source(items), position)
    assert "if the table was made anew" in caplog.text


def test_a_timestamp_finds_new_and_updated_rows(items: Polled) -> None:
    update = "UPDATE {t} SET name = 'z', changed_at = '2026-01-02 00:00:00' WHERE id = 1"
    insert = "INSERT INTO {t} VALUES (4, 'd', '2026-01-02 00:00:01')"
    assert then(items, Timestamp("changed_at"), update, insert) == [
        ("update", "1"),
        ("update", "4"),
    ]


def test_a_timestamp_misses_deletes_and_what_was_overwritten(items: Polled) -> None:
    statements = [
        "DELETE FROM {t} WHERE id = 2",
        "UPDATE {t} SET name = 'x', changed_at = '2026-01-02 00:00:00' WHERE id = 1",
        "UPDATE {t} SET name = 'y', changed_at = '2026-01-03 00:00:00' WHERE id = 1",
    ]
    assert then(items, Timestamp("changed_at"), *statements) == [("update", "1")]


def test_a_timestamp_misses_what_is_older_or_has_none(items: Polled) -> None:
    older = "INSERT INTO {t} VALUES (5, 'e', '2025-12-31 23:59:59')"
    none = "INSERT INTO {t} VALUES (6, 'f', null)"
    assert then(items, Timestamp("changed_at"), older, none) == []


def test_a_timestamp_waits_for_what_is_younger_than_its_lag(items: Polled) -> None:
    items.run("UPDATE {t} SET changed_at = datetime('now', '-1 second') WHERE id = 3")
    items.run("UPDATE {t} SET changed_at = datetime('now', '+1 day') WHERE id = 2")
    assert changes(once(source(items, Timestamp("changed_at", lag="1h")))) == [("update", "1")]
    (first, *_) = once(source(items, Timestamp("changed_at", lag="0s")))
    assert [record.key for record in first.records] == ["1", "3"]
    assert first.records[0].time == datetime(2026, 1, 1, tzinfo=UTC)


def test_times_without_a_zone_are_of_the_zone_that_is_named(items: Polled) -> None:
    (batch,) = once(source(items, Timestamp("changed_at", zone="Europe/Rome")))
    assert batch.records[0].time == datetime(2025, 12, 31, 23, tzinfo=UTC)


def test_a_comparison_finds_all_that_differs(items: Polled) -> None:
    assert changes(once(source(items, FullComparison()))) == [
        ("snapshot", key) for key in ("1", "2", "3")
    ]
    statements = [
        "UPDATE {t} SET name = 'z' WHERE id = 1",
        "DELETE FROM {t} WHERE id = 2",
        "INSERT INTO {t} VALUES (4, null, null)",
    ]
    assert then(items, FullComparison(), *statements) == [
        ("update", "1"),
        ("create", "4"),
        ("delete", "2"),
    ]


def test_a_comparison_misses_what_was_between_two_looks(items: Polled) -> None:
    statements = [
        "UPDATE {t} SET name = 'z' WHERE id = 1",
        "UPDATE {t} SET name = 'a' WHERE id = 1",
        "INSERT INTO {t} VALUES (4, 'd', null)",
        "DELETE FROM {t} WHERE id = 4",
    ]
    assert then(items, FullComparison(), *statements) == []


def test_a_comparison_stops_where_most_rows_have_gone(items: Polled) -> None:
    for n in range(4, 201):
        put(items, n, "x")
    position = once(source(items, FullComparison()))[-1].position
    items.run("DELETE FROM {t} WHERE id > 50")
    with pytest.raises(SourceError, match=r"150 of 200 rows .* max_deleted=0\.5"):
        once(source(items, FullComparison()), position)
    told = changes(once(source(items, FullComparison(max_deleted=1)), position))
    assert told == [("delete", f"{n}") for n in range(51, 201)]


def test_a_comparison_bounds_what_it_remembers(items: Polled) -> None:
    with pytest.raises(SourceError, match="more rows than remember=2"):
        once(source(items, FullComparison(remember=2)))


def test_a_key_that_two_rows_have_is_refused(items: Polled) -> None:
    put(items, 4, "a")
    with pytest.raises(ConfigurationError, match="two rows of the key 'a'"):
        once(source(items, FullComparison(), key=["name"]))


def test_a_key_that_two_rows_have_at_the_border_of_two_pages_is_refused(items: Polled) -> None:
    items.run("UPDATE {t} SET name = 'b' WHERE id = 3")
    for batch in (2, 3, 10):
        with pytest.raises(ConfigurationError, match="two rows of the key 'b'"):
            once(source(items, FullComparison(), key="name", batch=batch))
    view = SqlPolling(items.url, "v", by=FullComparison(), key="name", batch=2)
    items.run("CREATE VIEW v AS SELECT name FROM {t}")
    with pytest.raises(ConfigurationError, match="two rows of the key 'b'"):
        once(view)


def test_keys_that_a_collation_takes_for_equal_are_all_read(erp: Polled) -> None:
    erp.run("CREATE TABLE {t} (id integer PRIMARY KEY, code text COLLATE NOCASE, name text)")
    for n, code in enumerate(("b", "a", "A", "c"), start=1):
        erp.run("INSERT INTO {t} VALUES (:n, :code, '')", n=n, code=code)
    for batch in (1, 2, 3):
        told = changes(once(source(erp, FullComparison(), key="code", batch=batch)))
        assert sorted(key for _, key in told) == ["A", "a", "b", "c"]


def test_a_comparison_passes_over_no_row_without_a_key(items: Polled) -> None:
    put(items, 2, None)
    batches = looks(
        source(items, FullComparison(), key="name", interval="1ms"),
        until=lambda got: len(changes(got)) == 3,
    )
    records = [record for batch in batches for record in batch.records]
    assert [record.key for record in records] == ["a", "c", ""]
    assert records[2].unreadable is not None


def test_the_same_change_twice_is_two_events(items: Polled) -> None:
    """A row that goes back and forth: equal rows, and an id each."""
    records, position = [], None
    for name in ("x", "y", "x", "y"):
        put(items, 1, name)
        found = lambda got: any(batch.records for batch in got)  # noqa: E731
        batches = looks(source(items, FullComparison()), position, until=found)
        records += [r for batch in batches for r in batch.records if r.key == "1"]
        position = batches[-1].position
    assert [record.data["name"] for record in records] == ["x", "y", "x", "y"]
    assert len({record.id for record in records}) == 4


@pytest.mark.parametrize("seed", range(5))
def test_a_comparison_adds_up_to_the_table_wherever_it_is_killed(erp: Polled, seed: int) -> None:
    """What was read behind the last stored position is read again, by a new source."""
    chance = random.Random(seed)
    erp.run("CREATE TABLE {t} (id integer PRIMARY KEY, name text, changed_at timestamp)")
    state: dict[str, Any] = {}
    ids: list[str] = []
    position = None
    for _ in range(12):
        for _ in range(chance.randrange(1, 12)):
            id_ = chance.randrange(300)
            if chance.random() < 0.3:
                erp.run("DELETE FROM {t} WHERE id = :id", id=id_)
            else:
                put(erp, id_, f"{chance.random()}")
        stored = chance.randrange(1, 6)  # batches that Kafka gets before the worker is killed
        enough = lambda got, most=stored: got[-1].current or len(got) == most  # noqa: E731
        for batch in looks(source(erp, FullComparison(), batch=3), position, until=enough):
            for record in batch.records:
                ids.append(record.id)
                if record.change == "delete":
                    del state[record.key]
                else:
                    state[record.key] = record.data["name"]
            position = json.loads(json.dumps(batch.position))
    put(erp, 999, "end")
    for batch in looks(
        source(erp, FullComparison()), position, until=lambda got: "999" in dict(_keys(got))
    ):
        ids += [record.id for record in batch.records]
        state |= {r.key: r.data["name"] for r in batch.records if r.change != "delete"}
        for record in batch.records:
            if record.change == "delete":
                del state[record.key]
    assert state == {f"{id_}": name for id_, name in erp.run("SELECT id, name FROM {t}")}
    assert len(set(ids)) == len(ids)


def _keys(batches: Any) -> list[tuple[str, str]]:
    return [(key, change) for change, key in changes(batches)]


def test_columns_that_are_added_are_seen_at_the_next_look(items: Polled) -> None:
    def grown(batches: Any) -> bool:
        if len(batches) == 1:
            items.run("ALTER TABLE {t} ADD total decimal(9, 2)")
            items.run("INSERT INTO {t} (id, total) VALUES (9, 12.30)")
        return len(batches) == 2

    (record,) = looks(source(items), until=grown)[-1].records
    assert record.data == {"id": 9, "name": None, "changed_at": None, "total": Decimal("12.3")}


def test_columns_and_rows_may_be_chosen(items: Polled) -> None:
    chosen = source(items, columns=("name",), where="name <> 'b'", key="id")
    (batch,) = once(chosen)
    assert [(r.key, r.data) for r in batch.records] == [("1", {"name": "a"}), ("3", {"name": "c"})]


def test_a_row_without_a_key_is_a_dead_letter_and_the_rest_is_read(items: Polled) -> None:
    put(items, 4, None)
    put(items, 5, "e")
    (batch,) = once(source(items, key="name"))
    assert [record.key for record in batch.records] == ["a", "b", "c", "", "e"]
    bad = batch.records[3]
    assert bad.unreadable is not None
    assert "name is empty" in str(bad.unreadable.error)
    assert b'"id":4' in bad.unreadable.raw
    with pytest.raises(DataError, match="name is empty"):
        source(items, key="name").read_again(bad)
    with pytest.raises(DataError, match="primary key"):
        source(items).read_again(bad)
    right = once(source(items, key="id"))[0].records[3]
    again = source(items, key="id").read_again(bad)
    assert (again.key, again.data, again.id) == ("4", right.data, bad.id)


def test_a_view_is_read_by_the_columns_that_are_named(items: Polled) -> None:
    items.run("CREATE VIEW {t}_v AS SELECT id, name FROM {t}")
    view = f"{items.table}_v"

    def read(**more: Any) -> list[tuple[str, str]]:
        by = Increasing("id", lag="0s", **more)
        return changes(once(SqlPolling(items.url, view, by=by, interval="20ms")))

    assert read(then=()) == [("create", "1"), ("create", "2"), ("create", "3")]
    with pytest.raises(ConfigurationError, match="no primary key"):
        read()


@pytest.mark.parametrize(
    ("by", "other"),
    [
        (Increasing("id", lag="0s"), Increasing("name", lag="0s")),
        (Increasing("id", lag="0s"), Timestamp("changed_at")),
        (FullComparison(), Increasing("id", lag="0s")),
        (Timestamp("changed_at"), FullComparison()),
    ],
)
def test_a_position_of_another_mode_or_order_is_refused(items: Polled, by: Any, other: Any) -> None:
    position = once(source(items, by))[-1].position
    with pytest.raises(ConfigurationError, match="reset"):
        once(source(items, other), position)


def test_a_position_of_another_table_is_refused(items: Polled) -> None:
    position = once(source(items))[-1].position
    with pytest.raises(ConfigurationError, match="reset"):
        once(SqlPolling(items.url, "another", by=Increasing("id")), position)


def test_a_table_that_is_not_there_is_said(erp: Polled) -> None:
    with pytest.raises(SourceError, match="no such table"):
        once(source(erp))
    (finding,) = source(erp).check()
    assert "no such table" in finding.what


def test_a_check_tells_the_index_that_each_look_needs(items: Polled) -> None:
    assert source(items).check() == []
    (finding,) = source(items, Timestamp("changed_at")).check()
    assert finding.warning
    items.run(finding.mend.rstrip(";"))
    assert source(items, Timestamp("changed_at")).check() == []


def test_times_and_decimals_of_sqlite_are_what_their_columns_say(erp: Polled) -> None:
    erp.run(
        "CREATE TABLE {t} (id integer PRIMARY KEY, total decimal(9, 2), ratio real, at datetime, "
        "day date, ok boolean, doc json, raw blob, odd datetime)"
    )
    erp.run(
        "INSERT INTO {t} VALUES (1, 12.1, 12.1, '2026-01-02 03:04:05.5', '2026-01-02', 1, "
        """'{"a": 1}', x'00ff', 'soon')"""
    )
    (batch,) = once(source(erp))
    assert batch.records[0].data == {
        "id": 1,
        "total": Decimal("12.1"),
        "ratio": 12.1,
        "at": datetime(2026, 1, 2, 3, 4, 5, 500000),
        "day": datetime(2026, 1, 2).date(),
        "ok": True,
        "doc": {"a": 1},
        "raw": b"\x00\xff",
        "odd": "soon",
    }


class OtherDialect(SQLiteDialect_pysqlite):
    """A dialect that we do not know: nothing of it is ours but what SQLAlchemy says."""

    name = "other"
    supports_statement_cache = True


def test_any_dialect_of_sqlalchemy_is_read(items: Polled) -> None:
    registry.register("other", __name__, "OtherDialect")
    url = items.url.replace("sqlite:", "other:")
    polling = SqlPolling(url, items.table, by=FullComparison(), interval="20ms")
    assert [key for _, key in changes(once(polling))] == ["1", "2", "3"]


def test_what_cannot_be_is_refused(items: Polled) -> None:
    with pytest.raises(AddressError, match="no dialect"):
        SqlPolling("nowhere+at_all://x", "t", by=FullComparison())
    with pytest.raises(AddressError):
        SqlPolling("no url", "t", by=FullComparison())
    with pytest.raises(ConfigurationError, match="interval"):
        source(items, interval="0s")
    with pytest.raises(ConfigurationError, match="columns="):
        source(items, columns="name")
    with pytest.raises(ConfigurationError, match="zone"):
        Timestamp("at", zone="Mars/Olympus")
    with pytest.raises(ConfigurationError, match="then="):
        Timestamp("at", then=())
    with pytest.raises(ConfigurationError, match="holds no date with its time"):
        once(source(items, Timestamp("name")))
