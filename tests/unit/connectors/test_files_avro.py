"""Avro's object container files and fixed widths as FileSource reads them."""

from __future__ import annotations

import io
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import cramjam
import fastavro
import pytest

from files_kit import bad, batches, records, rows, source_of
from trunkline.connectors.files import Avro, FileSource, FixedWidth
from trunkline.errors import ConfigurationError

SCHEMA = {
    "type": "record",
    "name": "Receipt",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "note", "type": ["null", "string"]},
        {
            "name": "total",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        },
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
MARKER = b"0123456789abcdef"
CODECS = ["null", "deflate", "bzip2", "xz", "snappy", "zstandard"]


def row(key: object) -> dict[str, Any]:
    return {"id": str(key), "note": "x" * 50, "total": Decimal("1.50"), "at": AT}


def container(
    rows: list[dict[str, Any]], schema: Any = SCHEMA, codec: str = "null", interval: int = 1000
) -> bytes:
    """The bytes of a file, whose blocks have about ``interval`` bytes."""
    made, written = io.BytesIO(), "null" if codec == "zstandard" else codec
    fastavro.writer(made, schema, rows, written, interval, sync_marker=MARKER)
    return made.getvalue() if written == codec else zstandard(made.getvalue())


def zstandard(plain: bytes) -> bytes:
    """A container with its blocks packed by zstandard, which fastavro does with a library alone."""
    blocks = list(fastavro.block_reader(io.BytesIO(plain)))
    head = plain[: blocks[0].offset].replace(b"avro.codec\x08null", b"avro.codec\x12zstandard")
    for block in blocks:
        packed = bytes(cramjam.zstd.compress(block.bytes_.getvalue()))
        head += number(block.num_records) + number(len(packed)) + packed + MARKER
    return head


def number(value: int) -> bytes:
    made = io.BytesIO()
    fastavro.schemaless_writer(made, "long", value)
    return made.getvalue()


def avro(folder: Path, **more: Any) -> FileSource:
    return source_of(folder, pattern="*.avro", format=Avro(), **more)


@pytest.mark.parametrize("codec", CODECS)
def test_rows_of_each_codec(tmp_path: Path, codec: str) -> None:
    (tmp_path / "a.avro").write_bytes(container([row(n) for n in range(100)], codec=codec))
    given = records(batches(avro(tmp_path)))
    assert [record.data for record in given] == [row(n) for n in range(100)]
    assert [record.place for record in given] == [f"a.avro:{n}" for n in range(1, 101)]
    assert len({record.id for record in given}) == 100


def test_each_position_goes_on_behind_its_last_row(tmp_path: Path) -> None:
    whole = container([row(n) for n in range(300)], codec="deflate")
    damaged = bytearray(whole)
    damaged[2000:2010] = b"\xff" * 10
    (tmp_path / "a.avro").write_bytes(damaged)
    given = batches(avro(tmp_path, batch=7))
    assert len(bad(given)) == 1
    for index in range(len(given) - 1):
        rest = batches(avro(tmp_path, batch=7), given[index].position)
        found = [(record.id, record.data) for record in records(rest)]
        assert found == [(record.id, record.data) for record in records(given[index + 1 :])]


@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_block_is_one_dead_letter_and_the_others_are_read(
    tmp_path: Path, codec: str
) -> None:
    whole = container([row(n) for n in range(400)], codec=codec, interval=2000)
    ends = [at for at in range(len(whole)) if whole.startswith(MARKER, at)]
    middle = (ends[1] + 16 + ends[2]) // 2
    damaged = bytearray(whole)
    damaged[middle : middle + 20] = b"\xff" * 20
    (tmp_path / "a.avro").write_bytes(damaged)
    given = batches(avro(tmp_path))
    left = rows(given)
    assert left[-1] == "399"
    ((place, error, raw),) = bad(given)
    assert "cannot be read" in error
    assert raw
    assert place.startswith("a.avro:")
    assert 300 < len(left) < 400


def test_a_marker_that_is_wrong_costs_two_blocks_at_the_most(tmp_path: Path) -> None:
    whole = bytearray(container([row(n) for n in range(400)]))
    at = whole.index(MARKER, len(whole) // 2)
    whole[at : at + 4] = b"\0\0\0\0"
    (tmp_path / "a.avro").write_bytes(whole)
    given = batches(avro(tmp_path))
    assert rows(given)[-1] == "399"
    assert 360 < len(rows(given)) < 400
    ((_, error, raw),) = bad(given)
    assert "no marker is behind it" in error
    assert raw


def test_a_cut_end_is_told(tmp_path: Path) -> None:
    whole = container([row(n) for n in range(100)])
    (tmp_path / "a.avro").write_bytes(whole[:-30])
    given = batches(avro(tmp_path))
    assert len(bad(given)) == 1
    assert rows(given) == [str(n) for n in range(len(rows(given)))]


def record_of(kind: Any) -> dict[str, Any]:
    """A schema with a key and one field more."""
    fields = [{"name": "id", "type": "string"}, {"name": "more", "type": kind}]
    return {"type": "record", "name": "R", "fields": fields}


EMPTY = {"type": "record", "name": "Empty", "fields": []}


def laughing(levels: int) -> Any:
    """A record of two records of two records …, all of which take no bytes."""
    inner = "null" if levels == 0 else laughing(levels - 1)
    again = inner["name"] if isinstance(inner, dict) else inner
    fields = [{"name": "a", "type": inner}, {"name": "b", "type": again}]
    return {"type": "record", "name": f"L{levels}", "fields": fields}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,note\n1,x\n", "no Avro object container"),
        (b"Obj\x01\xff\xff", "header cannot be read"),
        (
            container([{"a": 1}], record_of("int") | {"fields": [{"name": "a", "type": "int"}]}),
            "lacks id",
        ),
        (container(["a"], "string"), "not one of a record"),
        (container([], record_of({"type": "array", "items": "null"})), "arrays of nothing"),
        (container([], record_of({"type": "array", "items": EMPTY})), "arrays of nothing"),
        (container([], record_of({"type": "array", "items": laughing(9)})), "arrays of nothing"),
        (container([], record_of(["null", "R"])), "recursive"),
        (container([], record_of(laughing(60))), "more than 100000 values"),
        (container([], record_of({"type": "map", "values": laughing(60)})), "more than 100000"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_dead_letter(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "a.avro").write_bytes(content)
    (tmp_path / "b.avro").write_bytes(container([row(1)]))
    given = batches(avro(tmp_path))
    assert rows(given) == ["1"]
    ((place, error, _),) = bad(given)
    assert place == "a.avro"
    assert said in error


def test_no_block_is_unpacked_beyond_its_bound(tmp_path: Path) -> None:
    huge = {"id": "1", "note": "x" * (33 << 20), "total": Decimal("1.50"), "at": AT}
    (tmp_path / "a.avro").write_bytes(container([huge], codec="deflate"))
    ((_, error, raw),) = bad(batches(avro(tmp_path)))
    assert "when it is unpacked" in error
    assert len(raw) <= 1_000_000


def test_a_row_that_is_too_long_is_one_dead_letter(tmp_path: Path) -> None:
    content = container([row(1), row("2" * 3000), row(3)])
    (tmp_path / "a.avro").write_bytes(content)
    given = batches(avro(tmp_path, max_row=2000))
    assert rows(given) == ["1", "3"]
    ((place, error, raw),) = bad(given)
    assert (place, len(raw)) == ("a.avro:2", 2000)
    assert "more than 2000 bytes" in error


def test_what_is_wrong_counts_for_the_bytes_of_a_batch(tmp_path: Path) -> None:
    """Blocks of a kilobyte each, whose dead letters show a megabyte."""
    begin = container([], codec="deflate").removesuffix(MARKER) + MARKER
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = squeeze.compress(b"\xfe\xff\xff\xff\x0f" + bytes(2_000_000)) + squeeze.flush()
    blocks = (number(1) + number(len(packed)) + packed + MARKER) * 30
    (tmp_path / "a.avro").write_bytes(begin + blocks)
    given = batches(avro(tmp_path))
    assert len(bad(given)) == 30
    assert max(sum(len(raw) for _, _, raw in bad([batch])) for batch in given) <= 5_000_000


def test_a_row_without_its_key_is_a_dead_letter_with_its_values(tmp_path: Path) -> None:
    (tmp_path / "a.avro").write_bytes(container([row(""), row(2)]))
    given = batches(avro(tmp_path))
    ((place, error, raw),) = bad(given)
    assert (place, rows(given)) == ("a.avro:1", ["2"])
    assert "no key" in error
    assert b'"total":"1.50"' in raw


def test_a_file_that_grew_is_read_anew(tmp_path: Path) -> None:
    def more() -> None:
        (tmp_path / "a.avro").write_bytes(container([row(1), row(2)]))

    (tmp_path / "a.avro").write_bytes(container([row(1)]))
    assert rows(batches(avro(tmp_path), None, more)) == ["1", "1", "2"]


def fixed(**more: Any) -> FixedWidth:
    return FixedWidth(fields=(("id", 4), ("", 2), ("note", 6)), **more)


def test_fields_of_fixed_widths(tmp_path: Path) -> None:
    lines = ["TITLE", "1   ..  räd ", "", "22  ..x     ", "3   ..x", "4   ..too long", "   5..a"]
    (tmp_path / "a.txt").write_bytes("\r\n".join(lines).encode("latin-1"))
    form = fixed(encoding="latin-1", skip=1)
    given = batches(source_of(tmp_path, pattern="*.txt", format=form))
    found = [record.data for record in records(given) if record.unreadable is None]
    assert found == [{"id": "1", "note": "räd"}, {"id": "22", "note": "x"}]
    assert bad(given) == [
        ("a.txt:5", "the line has 7 characters instead of 12", b"3   ..x\r\n"),
        ("a.txt:6", "the line has 14 characters instead of 12", b"4   ..too long\r\n"),
        ("a.txt:7", "the line has 7 characters instead of 12", b"   5..a"),
    ]
    trimmed = fixed(encoding="latin-1", skip=1, trimmed=True)
    given = batches(source_of(tmp_path, pattern="*.txt", format=trimmed))
    assert rows(given) == ["1", "22", "3", "5"]


def test_titles_that_arrive_later_are_no_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("REPORT\n")

    def more() -> None:
        file.write_text("REPORT\nof a day    \n1   ..a     \n")

    form = fixed(skip=2)
    given = batches(source_of(tmp_path, pattern="*.txt", format=form), None, more)
    assert (rows(given), bad(given)) == (["1"], [])


def test_what_is_appended_to_lines_of_fixed_width_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("1   ..a     \n")

    def more() -> None:
        with file.open("a") as appended:
            appended.write("2   ..b     \n")

    assert rows(batches(source_of(tmp_path, pattern="*.txt", format=fixed()), None, more)) == [
        "1",
        "2",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"fields": ()},
        {"fields": (("", 3),)},
        {"fields": (("id", 0),)},
        {"fields": (("id", 1), ("id", 2))},
        {"fields": (("id", 1),), "skip": -1},
        {"fields": (("id", 1),), "encoding": "utf-16"},
    ],
)
def test_widths_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        FixedWidth(**wrong)
