"""Parquet as FileSource reads it: types exact, resumable in any row group, bounded."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from files_kit import Looks, bad, batches, records, rows, source_of
from trunkline.connectors.files import FileSource, Parquet

AT = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
EXACT: dict[str, tuple[pa.DataType, Any]] = {
    "id": (pa.string(), "k"),
    "largest": (pa.int64(), 2**63 - 1),
    "unsigned": (pa.uint64(), 2**64 - 1),
    "small": (pa.int8(), -128),
    "third": (pa.float64(), 1 / 3),
    "total": (pa.decimal128(38, 18), Decimal("12345678901234567890.123456789012345678")),
    "wide": (pa.decimal256(76, 4), Decimal(f"{'9' * 72}.0001")),
    "at": (pa.timestamp("us", "UTC"), AT),
    "local": (pa.timestamp("us"), AT.replace(tzinfo=None)),
    "millis": (pa.timestamp("ms", "UTC"), AT.replace(microsecond=123000)),
    "day": (pa.date32(), date(2026, 11, 29)),
    "clock": (pa.time64("us"), time(23, 59, 59, 999999)),
    "lasted": (pa.duration("us"), timedelta(days=1, microseconds=1)),
    "raw": (pa.binary(), b"\x00\xff"),
    "yes": (pa.bool_(), True),
    "none": (pa.string(), None),
    "lines": (
        pa.list_(pa.struct([("sku", pa.string()), ("price", pa.decimal128(9, 2))])),
        [{"sku": "a", "price": Decimal("1.50")}, {"sku": "b", "price": None}],
    ),
    "tags": (pa.map_(pa.string(), pa.int64()), {"x": 1, "y": 2**40}),
    "kind": (pa.dictionary(pa.int32(), pa.string()), "one of few"),
}


def parquet(folder: Path, **more: Any) -> FileSource:
    return source_of(folder, pattern="*.parquet", **{"format": Parquet(), **more})


def write(path: Path, table: pa.Table, **more: Any) -> None:
    new = path.with_name(f".{path.name}")
    pq.write_table(table, new, **more)
    new.rename(path)


def numbered(count: int) -> pa.Table:
    return pa.table({"id": [str(n) for n in range(count)], "note": ["x" * 50] * count})


@pytest.mark.parametrize("packed", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
def test_values_are_exact(tmp_path: Path, packed: str) -> None:
    arrays: dict[str, Any] = {
        name: pa.array([list(value.items()) if name == "tags" else value], type_)
        for name, (type_, value) in EXACT.items()
    }
    write(tmp_path / "a.parquet", pa.table(arrays), compression=packed)
    (record,) = records(batches(parquet(tmp_path)))
    assert record.unreadable is None
    assert record.data == {name: value for name, (_, value) in EXACT.items()}
    assert {name: type(value) for name, value in record.data.items()} == {
        name: type(value) for name, (_, value) in EXACT.items()
    }
    assert record.data["at"].utcoffset() == timedelta()
    assert record.place == "a.parquet:1"


def test_moments_of_any_zone_are_in_utc(tmp_path: Path) -> None:
    rome = pa.array([AT], pa.timestamp("us", "Europe/Rome"))
    write(tmp_path / "a.parquet", pa.table({"id": ["k"], "at": rome, "inside": [[AT]]}))
    (record,) = records(batches(parquet(tmp_path)))
    assert record.data["at"].isoformat() == AT.isoformat()


def nanoseconds() -> pa.Table:
    whole = 1_700_000_000_000_001_000
    column = pa.array([whole, whole + 1, whole], pa.timestamp("ns", "UTC"))
    inside = pa.array([[whole], [whole], [whole + 1]], pa.list_(pa.timestamp("ns")))
    return pa.table({"id": ["a", "b", "c"], "at": column, "inside": inside})


def test_times_finer_than_a_microsecond_are_bad_rows_unless_they_are_to_be_cut(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a.parquet", nanoseconds())
    given = batches(parquet(tmp_path))
    assert rows(given) == ["a"]
    assert [(place, b'"id":' in raw) for place, _, raw in bad(given)] == [
        ("a.parquet:2", True),
        ("a.parquet:3", True),
    ]
    assert b"000001001" in bad(given)[0][2], "the value itself is in the letter"
    given = batches(parquet(tmp_path, format=Parquet(cut_times=True)))
    assert rows(given) == ["a", "b", "c"]
    assert {record.data["at"].microsecond for record in records(given)} == {1}


def test_each_position_goes_on_behind_its_last_row(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", numbered(300), row_group_size=70)
    given = batches(parquet(tmp_path, batch=23))
    assert rows(given) == [str(n) for n in range(300)]
    assert [r.place for r in records(given)] == [f"a.parquet:{n}" for n in range(1, 301)]
    for index in range(len(given) - 1):
        rest = batches(parquet(tmp_path, batch=23), given[index].position)
        found = [(record.id, record.data) for record in records(rest)]
        assert found == [(record.id, record.data) for record in records(given[index + 1 :])]


def test_a_damaged_row_group_is_one_dead_letter_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, numbered(300), row_group_size=100, write_page_checksum=True, compression="none")
    start = pq.read_metadata(path).row_group(1).column(1).data_page_offset
    whole = bytearray(path.read_bytes())
    whole[start : start + 40] = b"\xff" * 40
    path.write_bytes(whole)
    given = batches(parquet(tmp_path))
    assert rows(given) == [str(n) for n in (*range(100), *range(200, 300))]
    ((place, error, raw),) = bad(given)
    assert place == "a.parquet:101"
    assert "100 rows, cannot be read" in error
    assert raw
    for index in range(len(given) - 1):
        rest = batches(parquet(tmp_path), given[index].position)
        assert records(rest)[0].id == records(given[index + 1 :])[0].id


def encrypted() -> bytes:
    return b"PARE" + bytes(20) + (8).to_bytes(4, "little") + b"PARE"


def plain() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(numbered(10), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"id,note\n1,x\n" * 9, "no Parquet"),
        (b"PAR1", "no Parquet"),
        (plain()[:-20], "no Parquet"),
        (plain()[:-30] + b"\xff" * 22 + plain()[-8:], "the footer cannot be read"),
        (plain()[:-8] + b"\xff\xff\xff\x7fPAR1", "the footer has"),
        (encrypted(), "encrypted"),
    ],
    ids=["text", "short", "cut", "damaged", "huge", "encrypted"],
)
def test_a_file_that_cannot_be_read_is_one_dead_letter(
    tmp_path: Path, content: bytes, error: str
) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    write(tmp_path / "b.parquet", numbered(1))
    given = batches(parquet(tmp_path))
    assert rows(given) == ["0"]
    ((place, said, _),) = bad(given)
    assert place == "a.parquet"
    assert error in said


def test_a_schema_without_the_key_is_one_dead_letter(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"name": ["x", "y"]}))
    assert [(place, said) for place, said, _ in bad(batches(parquet(tmp_path)))] == [
        ("a.parquet", "the schema lacks id")
    ]


def test_a_row_without_its_key_is_sent_again_with_its_types(tmp_path: Path) -> None:
    """As all that is no text in JSON: today's ``key=`` is another field, and the values are what
    they were."""
    table = pa.table(
        {"id": pa.array([None], pa.string()), "total": [Decimal("1.50")], "at": [AT], "n": ["7"]}
    )
    write(tmp_path / "a.parquet", table)
    (letter,) = records(batches(parquet(tmp_path)))
    assert letter.unreadable is not None
    again = parquet(tmp_path, key="n").read_again(letter)
    assert again.key == "7"
    assert again.data == {"id": None, "total": Decimal("1.50"), "at": AT, "n": "7"}


def test_a_row_that_is_too_long_is_bad_alone(tmp_path: Path) -> None:
    notes = ["x", "y" * 5_000, "z"]
    write(tmp_path / "a.parquet", pa.table({"id": ["a", "b", "c"], "note": notes}))
    given = batches(parquet(tmp_path, max_row=2_000))
    assert rows(given) == ["a", "c"]
    assert [place for place, _, _ in bad(given)] == ["a.parquet:2"]
    big = ["x" * 3_000_000, "y" * 3_000_000, "z"]
    write(tmp_path / "b.parquet", pa.table({"id": ["a", "b", "c"], "note": big}))
    given = batches(parquet(tmp_path))
    assert rows(given)[-1:] == ["c"]
    assert [place for place, error, _ in bad(given) if "more than" in error] == [
        "b.parquet:1",
        "b.parquet:2",
    ]


def test_a_stop_ends_it_in_the_middle_of_a_file(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", numbered(50_000), row_group_size=50_000)
    stop = threading.Event()
    source = parquet(tmp_path, batch=100)
    given = 0
    for batch in source.read(None, stop):
        given += len(batch.records)
        stop.set()
    source.close()
    assert given <= 200


def test_an_empty_file_and_one_without_rows(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    write(tmp_path / "b.parquet", numbered(0))
    assert records(batches(parquet(tmp_path))) == []


def test_it_is_read_in_a_folder_that_changes(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", numbered(3))
    source = parquet(tmp_path)
    given = []
    for batch in source.read(None, Looks(lambda: write(tmp_path / "a.parquet", numbered(4)))):
        given += batch.records
    source.close()
    assert len(given) == 7, "another content of that name is read anew"
