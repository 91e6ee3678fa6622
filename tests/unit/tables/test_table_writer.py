"""Records of a topic become rows: the newest of each key, and the entries of its field."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tables_kit import Orders
from trunkline.errors import RegistryUnavailable, SerializationError
from trunkline.streams.tables.disk import DiskStore
from trunkline.streams.tables.memory import MemoryStore
from trunkline.streams.tables.store import Store


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MemoryStore() if request.param == "memory" else DiskStore(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["at once", "loaded first"])
def orders(store: Store, request: pytest.FixtureRequest) -> Orders:
    """A table that is empty when its topic is read; or one that is filled meanwhile, by records
    that the test sees nothing of afterwards."""
    if request.param == "at once":
        return Orders(store)
    made = Orders(store, loading=True)
    made.apply(made.put("gone", "gone"), made.put("7", "old"))
    made.apply(made.delete("gone"), made.delete("7"))
    made.writer.finish()
    return made


def test_the_newest_value_of_a_key_counts(orders: Orders) -> None:
    orders.apply(orders.put("1", cents=1), orders.put("2", cents=5), orders.put("1", cents=2))
    orders.apply(orders.put("2", cents=6))
    assert [orders.table["1"]["total_cents"], orders.table["2"]["total_cents"]] == [2, 6]
    assert len(orders.table) == 2


def test_a_tombstone_deletes(orders: Orders) -> None:
    orders.apply(orders.put("1"), orders.put("2"))
    orders.apply(orders.delete("1"), orders.delete("never there"))
    assert (orders.table.get("1"), "2" in orders.table, len(orders.table)) == (None, True, 1)
    assert orders.ids("paid") == ["2"]
    orders.apply(orders.put("1", "new"), orders.delete("1"), orders.put("1", "newer"))
    assert (orders.ids("new"), orders.ids("newer"), len(orders.table)) == ([], ["1"], 2)


def test_a_row_moves_from_one_value_of_an_index_to_another(orders: Orders) -> None:
    orders.apply(orders.put("1", "paid"), orders.put("2", "paid"))
    orders.apply(orders.put("1", "shipped"))
    assert (orders.ids("paid"), orders.ids("shipped")) == (["2"], ["1"])
    assert list(orders.store.entries(b"\x01")) == [b"\x01spaid\x00\x012", b"\x01sshipped\x00\x011"]


def test_keys_and_values_of_an_index_are_scanned_by_prefix_in_order(orders: Orders) -> None:
    ids = ["b-2", "a-1", "b-10", "c", "b"]
    orders.apply(*(orders.put(id, status=f"s{len(id)}") for id in ids))
    assert [key for key, _ in orders.table.scan("b")] == ["b", "b-10", "b-2"]
    assert [key for key, _ in orders.table.scan()] == sorted(ids)
    assert [(s, row["id"]) for s, row in orders.by_status.scan("s")] == [
        *[("s1", "b"), ("s1", "c"), ("s3", "a-1"), ("s3", "b-2"), ("s4", "b-10")]
    ]


def test_what_stands_in_no_partition_order_is_told_apart_by_its_time(orders: Orders) -> None:
    """A topic got more partitions: the key's old partition is read after its new one."""
    orders.apply(orders.put("1", cents=2, partition=5, at=200))
    orders.apply(orders.put("1", cents=1, partition=0, at=100), orders.delete("1", at=150))
    assert orders.table["1"]["total_cents"] == 2
    orders.apply(orders.put("1", cents=3, partition=5, at=150))
    assert orders.table["1"]["total_cents"] == 3, "within a partition what is read later is newer"


def test_a_tombstone_of_the_newer_partition_outlasts_an_older_value_read_later(
    store: Store,
) -> None:
    orders = Orders(store, loading=True)
    orders.apply(orders.delete("1", partition=5, at=200))
    orders.apply(orders.put("1", partition=0, at=100), orders.put("2", partition=0, at=100))
    orders.writer.finish()
    assert ("1" in orders.table, "2" in orders.table) == (False, True)


def test_a_truncate_and_a_record_without_a_key_are_no_rows(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    orders.apply(orders.put("1"), orders.truncate(), orders.record(None, b"x"))
    assert [key for key, _ in orders.table.scan()] == ["1"]
    assert "truncated a table" in caplog.text
    assert "has no key" in caplog.text


def test_a_row_that_cannot_be_decoded_is_in_no_index_and_raises_when_it_is_asked_for(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    orders.apply(orders.put("1"), orders.record(b"2", b"no Avro"))
    assert orders.ids("paid") == ["1"]
    assert "2" in orders.table
    with pytest.raises(SerializationError):
        orders.table.get("2")
    assert "is in no index" in caplog.text
    orders.apply(orders.put("2", "mended"))
    assert orders.ids("mended") == ["2"]


def test_nothing_changes_while_a_schema_cannot_be_asked_for(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders.apply(orders.put("1", "paid"))

    def away(value: bytes) -> object:
        raise RegistryUnavailable("away")

    records = orders.put("1", "shipped"), orders.put("2", "paid")
    with monkeypatch.context() as patch:
        patch.setattr(orders.writer, "_decode", away)
        with pytest.raises(RegistryUnavailable):
            orders.apply(*records)
    assert (orders.ids("paid"), len(orders.table)) == (["1"], 1)
    orders.apply(*records)
    assert (orders.ids("paid"), orders.ids("shipped")) == (["2"], ["1"])
