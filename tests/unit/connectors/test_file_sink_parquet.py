"""FileSink's Parquet: the type's values exactly, each event in one file, also behind a crash."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from trunkline.connectors.contract.tools import make_event
from trunkline.connectors.files import FileSink, written_forms
from trunkline.connectors.files.objects import FolderObjects
from trunkline.connectors.files.write_log import WriteLog, WrittenFile, mark
from trunkline.connectors.files.written_forms import Forms
from trunkline.errors import ConfigurationError, MissingExtra, PartialFailure
from trunkline.event import Event
from trunkline.schemas.commerce import Order
from trunkline.schemas.types import avro_type

AT = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)


class Everything(dict[str, Any]):
    """A record with a field of each kind."""


class Line(dict[str, Any]):
    """A record that holds itself."""


VALUES: dict[str, tuple[str, Any]] = {
    "id": ('"string"', "a"),
    "small": ('"int"', -(2**31)),
    "large": ('"long"', 2**63 - 1),
    "third": ('"double"', 1 / 3),
    "yes": ('"boolean"', True),
    "raw": ('"bytes"', b"\x00\xff"),
    "hash": ('{"type": "fixed", "name": "Hash", "size": 4}', b"abcd"),
    "kind": ('{"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}', "OLD"),
    "total": (
        '{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}',
        Decimal("1234567890123456789012345678.0123456789"),
    ),
    "wide": (
        '{"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 2}',
        Decimal(f"{'9' * 58}.01"),
    ),
    "at": ('{"type": "long", "logicalType": "timestamp-micros"}', AT),
    "local": (
        '{"type": "long", "logicalType": "local-timestamp-micros"}',
        AT.replace(tzinfo=None),
    ),
    "day": ('{"type": "int", "logicalType": "date"}', date(2026, 11, 29)),
    "clock": ('{"type": "long", "logicalType": "time-micros"}', time(23, 59, 59, 999999)),
    "uuid": ('{"type": "string", "logicalType": "uuid"}', UUID(int=7)),
    "note": ('["null", "string"]', None),
    "either": ('["null", "string", "long"]', 5),
    "lines": (
        '{"type": "array", "items": {"type": "record", "name": "Item", "fields": ['
        '{"name": "sku", "type": "string"}, {"name": "seen", "type": ["null", {"type": "string",'
        ' "logicalType": "uuid"}]}]}}',
        [{"sku": "x", "seen": UUID(int=1)}, {"sku": "y", "seen": None}],
    ),
    "tags": ('{"type": "map", "values": "long"}', {"x": 1, "y": 2**40}),
}
READ: dict[str, Any] = {
    "uuid": str(UUID(int=7)),
    "either": "5",
    "lines": [{"sku": "x", "seen": str(UUID(int=1))}, {"sku": "y", "seen": None}],
}
FIELDS = ", ".join(f'{{"name": "{name}", "type": {avro}}}' for name, (avro, _) in VALUES.items())
avro_type(Everything, f'{{"type": "record", "name": "t.Everything", "fields": [{FIELDS}]}}')
avro_type(
    Line,
    '{"type": "record", "name": "t.Line", "fields": ['
    '{"name": "next", "type": ["null", "t.Line"]}]}',
)


def written(folder: Path) -> list[dict[str, Any]]:
    """The rows of all files, by offset."""
    found: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*.parquet")):
        found += pq.ParquetFile(path).read().to_pylist(maps_as_pydicts="strict")
    return sorted(found, key=lambda row: (row["_partition"], row["_offset"]))


async def delivered(sink: FileSink[Any], *calls: list[Event[Any]]) -> None:
    await sink.open()
    try:
        for events in calls:
            await sink.deliver(events)
    finally:
        await sink.close()


def parquet(folder: Path, type: Any = Order, **more: Any) -> FileSink[Any]:
    return FileSink(folder, type, format="parquet", **more)


def order(number: int, **more: Any) -> Event[Order]:
    data = Order(id=str(number), status="paid", total_cents=number)
    return make_event(str(number), data, offset=number, id=f"id-{number}", **more)


def test_each_value_is_what_it_was(tmp_path: Path) -> None:
    data = {name: value for name, (_, value) in VALUES.items()}
    gone = make_event("b", None, change="delete", offset=8)
    asyncio.run(delivered(parquet(tmp_path, Everything), [make_event("a", data, offset=7), gone]))
    row, deleted = written(tmp_path)
    assert {name: row[name] for name in VALUES} == {**data, **READ}
    assert (row["_key"], row["_change"], row["_offset"]) == ("a", "update", 7)
    assert isinstance(row["_time"], datetime)
    assert (deleted["_change"], deleted["id"], deleted["lines"]) == ("delete", None, None)


def test_an_event_comes_once_and_a_file_has_its_name(tmp_path: Path) -> None:
    sink = parquet(tmp_path, name="orders")
    asyncio.run(delivered(sink, [order(7), order(8, partition=1)], [order(7), order(9)]))
    assert [row["_offset"] for row in written(tmp_path)] == [7, 9, 8]
    names = sorted(path.name.rpartition("-")[0] for path in tmp_path.rglob("*.parquet"))
    assert names == [
        f"orders-0-{7:012}-{7:012}-1",
        f"orders-0-{9:012}-{9:012}-2",
        f"orders-1-{8:012}-{8:012}-1",
    ]


def test_what_is_not_of_its_type_is_refused_alone(tmp_path: Path) -> None:
    wrong: Any = {"id": "8", "status": "paid", "total_cents": "much"}
    events = [order(7), make_event("8", wrong, offset=8), order(9)]
    with pytest.raises(PartialFailure) as failed:
        asyncio.run(delivered(parquet(tmp_path), events))
    assert list(failed.value.failures) == [1]
    assert [row["_offset"] for row in written(tmp_path)] == [7, 9]


class Dying(FolderObjects):
    """A folder whose worker ends before it makes one file."""

    def __init__(self, root: Path, at: str) -> None:
        super().__init__(root)
        self._at = at

    def create(self, path: str, content: bytes) -> bool:
        if path == self._at:
            raise KeyboardInterrupt
        return super().create(path, content)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_file_that_a_dead_worker_did_not_make_is_void_and_readable(
    tmp_path: Path, format: Any
) -> None:
    """It died behind the entry of its log: the next one, perhaps of another form, makes the file,
    empty, and the event is written once."""
    event = order(7)
    marks = mark(event.sequence, event.idempotency_key)
    lost = WrittenFile("day=2026-11-30/lost.parquet", 7, 7, marks)
    objects = Dying(tmp_path, lost.path)
    objects.open()
    log = WriteLog(objects, f"_trunkline/{event.inbox}-0", Forms(Order, "parquet", False))
    with pytest.raises(KeyboardInterrupt):
        log.write([(lost, b"never")])
    for _ in range(2):
        asyncio.run(delivered(FileSink(tmp_path, Order, format=format), [event]))
    empty = pq.ParquetFile(tmp_path / lost.path).read()
    assert empty.num_rows == 0
    assert "total_cents" in empty.schema.names
    files = [path for path in tmp_path.rglob("day=*/*") if path.is_file()]
    assert len(files) == 2, "the void one, and that of the event"


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written_forms, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"trunkline\[parquet\]"):
        parquet(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"compress": True}, {"format": "csv"}, {"type": dict}, {"type": Line}],
    ids=["packed twice", "no format", "no schema", "endless"],
)
def test_what_cannot_be_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        FileSink(tmp_path, **{"type": Order, "format": "parquet", **wrong})
