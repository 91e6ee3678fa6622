"""Outbox on SQLite: what a row becomes, when it is removed, and what a crash leaves."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from polling_kit import Polled, changes, looks, polled
from trunkline.connectors.base import Batch, Position, Source
from trunkline.connectors.outbox import Outbox, OutboxColumns
from trunkline.connectors.outbox import source as source_module
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Record, event_headers
from trunkline.streams.publish.publisher import Publisher, TopicMapping


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Polled]:
    with polled(f"sqlite:///{tmp_path}/shop.db") as database:
        database.run(
            "CREATE TABLE {t} (id text PRIMARY KEY, number integer, aggregatetype text, "
            "aggregateid text, type text, payload text, trace text, at bigint, published_at text)"
        )
        yield database


def put(shop: Polled, id: str, number: int = 0, payload: Any = "{}", **more: Any) -> None:
    row = {"id": id, "number": number, "aggregatetype": "order", "aggregateid": f"k{id}"}
    row |= {"type": "order.paid", "payload": payload, **more}
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    shop.run(f"INSERT INTO {{t}} ({names}) VALUES ({values})", **row)


def outbox(shop: Polled, **more: Any) -> Outbox:
    return Outbox(shop.url, shop.table, **{"interval": "20ms", **more})


def told(batches: list[Batch]) -> list[Record]:
    return [record for batch in batches for record in batch.records]


def left(shop: Polled) -> list[str]:
    return [id_ for (id_,) in shop.run("SELECT id FROM {t} ORDER BY id")]


def test_a_row_says_all_of_its_event(shop: Polled) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    payload = '{"n": 12345678901234567890123}'
    put(shop, "a", payload=payload, trace=trace, at=1767225600000)
    columns = OutboxColumns(time="at", headers={"traceparent": "trace", "tenant": "number"})
    (record,) = told(looks(outbox(shop, columns=columns), until=lambda got: bool(told(got))))
    assert (record.key, record.stream, record.type, record.id) == ("ka", "order", "order.paid", "a")
    assert record.data == {"n": 12345678901234567890123}
    assert record.time == datetime(2026, 1, 1, tzinfo=UTC)
    assert (record.traceparent, record.headers) == (trace, {"tenant": "0"})
    headers = dict(event_headers(record, source="s", type=record.type))
    assert headers["tenant"] == b"0"
    assert headers["traceparent"] == trace.encode()


def test_the_type_of_the_row_is_the_events_unless_the_topic_says_another() -> None:
    record = Record(key="k", data={}, stream="order", type="order.paid")
    mapping = TopicMapping("orders", lambda record: record.data, lambda data: b"x")

    def type_of(mapping: TopicMapping) -> bytes:
        (made,) = Publisher("s", "dlq", [mapping]).publish([record]).records
        return dict(made.headers)["ce_type"]

    assert type_of(mapping) == b"order.paid"
    mapping.event_type = "mine"
    assert type_of(mapping) == b"mine"


def test_rows_are_removed_once_kafka_has_them(shop: Polled) -> None:
    for n in range(5):
        put(shop, f"{n}")
    source, stop = outbox(shop, batch=2), threading.Event()
    batches = source.read(None, stop)
    assert next(batches).records == []
    first = next(batches)
    assert [record.id for record in first.records] == ["0", "1"]
    assert left(shop) == ["0", "1", "2", "3", "4"], "nothing is acknowledged"
    second = next(batches)
    source.acknowledge(first.position)
    assert left(shop) == ["2", "3", "4"]
    source.acknowledge(second.position)
    assert left(shop) == ["4"]
    stop.set()
    source.close()


def test_a_row_that_is_committed_late_is_published_all_the_same(shop: Polled) -> None:
    put(shop, "b", 2)

    def late(batches: list[Batch]) -> bool:
        if len(told(batches)) == 1 and len(batches) == 2:
            put(shop, "a", 1)  # with the smaller number
        return len(told(batches)) == 2

    batches = looks(outbox(shop, order=["number"]), until=late)
    assert [record.id for record in told(batches)] == ["b", "a"]
    assert left(shop) == []


def test_rows_come_in_the_order_that_is_named(shop: Polled) -> None:
    for id_, number in (("a", 3), ("b", 1), ("c", 2), ("d", 2)):
        put(shop, id_, number)
    source = outbox(shop, order=["number"], batch=2)
    batches = looks(source, until=lambda got: len(told(got)) == 4)
    assert [record.id for record in told(batches)] == ["b", "c", "d", "a"]


def test_published_rows_may_be_marked(shop: Polled) -> None:
    put(shop, "a")
    put(shop, "b", published_at="long ago")
    batches = looks(outbox(shop, after="mark"), until=lambda got: bool(told(got)))
    assert [record.id for record in told(batches)] == ["a"]
    marked = dict(shop.run("SELECT id, published_at FROM {t}"))
    assert marked["b"] == "long ago"
    assert str(datetime.now(UTC).year) in marked["a"]


def test_a_mark_may_have_any_name(shop: Polled) -> None:
    shop.run('ALTER TABLE {t} ADD COLUMN "order" text')
    put(shop, "a")
    source = outbox(shop, after="mark", mark="order")
    assert [record.id for record in told(looks(source, until=lambda got: bool(told(got))))] == ["a"]
    assert shop.run('SELECT id FROM {t} WHERE "order" IS NULL') == []


class Snapshot(Source):
    """A source of changes that begins with the rows of its table."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        records = [Record(key=r["id"], data=r, change="snapshot", stream="o") for r in self.rows]
        yield Batch(records, {"at": len(records)})


def test_a_snapshot_publishes_no_row_that_is_marked(shop: Polled) -> None:
    """As after a reset, or for a snapshot on demand: all of the past would come again."""
    row = {"aggregatetype": "order", "aggregateid": "k", "type": "t", "payload": "{}"}
    new, old = {**row, "id": "new", "published_at": None}, {**row, "id": "old", "published_at": "x"}
    source = outbox(shop, through=Snapshot(old, new), after="mark")
    assert [record.id for record in told(list(source.read(None, threading.Event())))] == ["new"]
    source.close()


def test_the_position_stays_small_whatever_ids_are_like(shop: Polled) -> None:
    for n in range(20):
        put(shop, f"{n:04}" + "x" * 250, n)
    source, stop, sizes, unsettled = outbox(shop, order=["number"]), threading.Event(), [], None
    source_module.MOST_PENDING, before = 1_000, source_module.MOST_PENDING
    source_module.MOST_RECORDS, most = 3, source_module.MOST_RECORDS
    try:
        for batch in source.read(None, stop):  # as the engine: a large batch is settled later
            sizes.append(len(json.dumps(batch.position)))
            if unsettled is not None:
                source.acknowledge(unsettled)
            unsettled = batch.position if batch.records else None
            if unsettled is None:
                source.acknowledge(batch.position)
            if not left(shop):
                stop.set()
    finally:
        source_module.MOST_PENDING, source_module.MOST_RECORDS = before, most
        source.close()
    assert max(sizes) < 7 * 270


def test_it_says_that_it_is_current_behind_a_page_that_was_full(shop: Polled) -> None:
    def more(batches: list[Batch]) -> bool:
        if batches[-1].current and not told(batches):  # it was current, and is late again
            for n in range(4):
                put(shop, f"{n}", n)
        return len(told(batches)) == 4 and batches[-1].current

    looks(outbox(shop, batch=2, order=["number"]), until=more)
    assert left(shop) == []


def test_a_payload_that_is_nested_too_deeply_is_a_dead_letter(shop: Polled) -> None:
    deep = '{"n": 12345678901234567890, "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    put(shop, "a", payload=deep)
    put(shop, "b")
    batches = looks(outbox(shop), until=lambda got: len(told(got)) == 2)
    assert [record.unreadable is None for record in told(batches)] == [False, True]


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_anywhere_repeats_nothing_and_leaves_no_row(shop: Polled, seed: int) -> None:
    """Batches that Kafka has, acknowledged or not; then the worker is killed."""
    chance, published, written, position = random.Random(seed), [], 0, None
    for last in [*[False] * 8, True]:
        for _ in range(chance.randrange(6)):
            put(shop, f"{written:04}", chance.randrange(99))
            written += 1
        source, stop = outbox(shop, batch=2, order=["number"]), threading.Event()
        for count, batch in enumerate(source.read(position, stop)):
            published += [record.id for record in batch.records]
            position = json.loads(json.dumps(batch.position))
            if last or chance.random() < 0.5:
                source.acknowledge(position)
            whole = len(published) == written and not left(shop)
            if whole if last else count == 2 or batch.current:
                stop.set()
        source.close()
    assert sorted(published) == [f"{n:04}" for n in range(written)]
    assert left(shop) == []


def test_a_payload_that_is_none_is_a_dead_letter_and_null_is_a_delete(shop: Polled) -> None:
    put(shop, "a", payload="{oops")
    put(shop, "b", payload="[1]")
    put(shop, "c", payload=None)
    put(shop, "d", aggregateid="")
    batches = looks(outbox(shop), until=lambda got: len(told(got)) == 4)
    assert changes(batches) == [("create", ""), ("create", ""), ("delete", "kc"), ("create", "")]
    bad = [record.unreadable for record in told(batches)]
    assert [each is not None for each in bad] == [True, True, False, True]
    assert left(shop) == [], "they are in the dead-letter queue"


def test_what_cannot_be_is_refused(shop: Polled) -> None:
    with pytest.raises(ConfigurationError, match="must lose its rows"):
        outbox(shop, after="keep")
    with pytest.raises(ConfigurationError, match="url="):
        Outbox(through=None, after="delete")
    with pytest.raises(ConfigurationError, match="Trunkline's own"):
        OutboxColumns(headers={"ce_id": "id"})
    with pytest.raises(ConfigurationError, match="reset"):
        list(outbox(shop).read({"lsn": "0/1"}, threading.Event()))
    columns = OutboxColumns(payload="body")
    with pytest.raises(SourceError, match="no column body"):
        looks(outbox(shop, columns=columns), until=lambda got: bool(told(got)))
    (finding,) = outbox(shop, columns=columns).check()
    assert "no column body" in finding.what
    assert outbox(shop, order=["number"]).check() == []
    (finding,) = outbox(shop, order=["number"], after="mark", mark="told_at").check()
    assert "no column told_at" in finding.what
    (finding,) = outbox(shop).check()
    assert finding.warning
    assert "does not grow" in finding.what
