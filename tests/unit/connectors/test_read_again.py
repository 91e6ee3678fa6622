"""What a source could not read is read from its dead letter, by what the flow says today."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from files_kit import batches, records, source_of
from trunkline import Record
from trunkline.connectors.base import Source
from trunkline.connectors.files import Avro, Csv, FixedWidth, JsonLines
from trunkline.connectors.files.again import as_letter, row_again
from trunkline.connectors.http import HttpPolling
from trunkline.connectors.kafka import KafkaCluster, KafkaSource
from trunkline.connectors.outbox import OutboxColumns
from trunkline.errors import DataError
from trunkline.event import Unreadable


def refused(folder: Path, content: bytes, **source: Any) -> list[Record]:
    """What of a file cannot be read."""
    (folder / "a.csv").write_bytes(content)
    found = records(batches(source_of(folder, **source)))
    return [record for record in found if record.unreadable is not None]


def test_a_mended_encoding_reads_the_lines_with_the_header_they_had(tmp_path: Path) -> None:
    (bad,) = refused(tmp_path, "id,city\n1,Rom\n2,Forl\xec\n".encode("latin-1"))
    made = source_of(tmp_path, format=Csv(encoding="latin-1"), name_field="file").read_again(bad)
    assert (made.key, made.data) == ("2", {"id": "2", "city": "Forlì", "file": "a.csv"})
    assert (made.id, made.place, made.time, made.unreadable) == (bad.id, bad.place, bad.time, None)
    with pytest.raises(DataError, match="byte 0xec"):
        source_of(tmp_path).read_again(bad)


def test_it_has_the_id_that_it_would_have_had(tmp_path: Path) -> None:
    content = "id,city\n1,Rom\n2,Forl\xec\n".encode("latin-1")
    (bad,) = refused(tmp_path, content)
    right = records(batches(source_of(tmp_path, format=Csv(encoding="latin-1"))))
    assert source_of(tmp_path, format=Csv(encoding="latin-1")).read_again(bad) == right[1]


@pytest.mark.parametrize(
    ("content", "then", "now"),
    [
        (b"title\nid;x\n1;2;3\n", Csv(skip=1, delimiter=";"), Csv(header=("id", "x", "y"))),
        (b'{"id": "1"}\n{"n": NaN}\n', JsonLines(), None),
        (b"title\n0017x\n", FixedWidth(fields=(("id", 4),), skip=1), None),
    ],
)
def test_lines_of_each_format(tmp_path: Path, content: bytes, then: Any, now: Any) -> None:
    """Each is as bad as before in the same format, with the same words."""
    (bad,) = refused(tmp_path, content, format=then)
    assert bad.unreadable is not None
    with pytest.raises(DataError) as told:
        source_of(tmp_path, format=then).read_again(bad)
    assert str(told.value) == str(bad.unreadable.error)
    if now is not None:
        with pytest.raises(DataError, match="1 fields, the header 3"):
            source_of(tmp_path, format=now).read_again(bad)


def test_a_fixed_width_that_was_wrong(tmp_path: Path) -> None:
    (bad,) = refused(tmp_path, b"0017x\n", format=FixedWidth(fields=(("id", 4),)))
    mended = FixedWidth(fields=(("id", 4), ("mark", 1)), skip=3)
    assert source_of(tmp_path, format=mended).read_again(bad).data == {"id": "0017", "mark": "x"}


def test_a_mended_key_function(tmp_path: Path) -> None:
    def broken(row: dict[str, Any]) -> str:
        return row["nr"] + row["missing"]

    (bad,) = refused(tmp_path, b"nr,x\n7,y\n", key=broken)
    made = source_of(tmp_path, key="nr").read_again(bad)
    assert (made.key, made.data) == ("7", {"nr": "7", "x": "y"})


def test_what_is_about_a_whole_file_says_what_to_do(tmp_path: Path) -> None:
    (bad,) = refused(tmp_path, b"nr,x\n7,y\n")
    with pytest.raises(DataError, match="under another name"):
        source_of(tmp_path).read_again(bad)


def test_a_line_that_was_too_long_is_cut(tmp_path: Path) -> None:
    (bad,) = refused(tmp_path, b"id,x\n1," + b"y" * 2000 + b"\n", max_row=1000)
    assert bad.unreadable is not None
    assert bad.unreadable.cut


def test_rows_that_are_nothing_without_their_file(tmp_path: Path) -> None:
    bad = Record(key="", data={}, unreadable=Unreadable(DataError("no"), b"\x00"))
    with pytest.raises(DataError, match=r"no method alone"):
        source_of(tmp_path, format=Avro()).read_again(bad)


TYPED: dict[str, Any] = {
    "n": Decimal("1.50"),
    "at": datetime(2026, 11, 30, 12, tzinfo=UTC),
    "raw": b"\xff",
    "deep": [{"a/b": UUID(int=7)}, {"nan": None}],
}


@pytest.mark.parametrize("fields", [{"n": 1, "s": "x"}, TYPED], ids=["plain", "typed"])
def test_fields_without_a_key_come_back_with_their_types(fields: dict[str, Any]) -> None:
    """As of Avro: a function that counts with a Decimal would not take a text."""
    raw, notes = as_letter(fields, 1_000)
    bad = Unreadable(DataError("no key"), raw, notes=json.loads(json.dumps(dict(notes))))
    assert row_again(Avro(), bad, [], 1_000) == fields


@pytest.mark.parametrize("fields", [{"n": object()}, {"s": "x" * 2_000}], ids=["what", "long"])
def test_fields_that_their_letter_has_not_are_no_row(fields: dict[str, Any]) -> None:
    raw, notes = as_letter(fields, 1_000)
    assert len(raw) <= 1_000
    with pytest.raises(DataError, match="no types"):
        row_again(Avro(), Unreadable(DataError("no key"), raw, notes=notes), [], 1_000)


def unread(raw: bytes, place: str = "orders/1/7", **notes: Any) -> Record:
    bad = Unreadable(DataError("no"), raw, notes=notes)
    return Record(key="", data={}, id="i1", stream="orders", place=place, unreadable=bad)


def test_a_message_of_kafka_with_its_key_and_headers() -> None:
    def source(**more: Any) -> KafkaSource:
        return KafkaSource(KafkaCluster("localhost:1"), "orders", headers_field="h", **more)

    bad = unread(b"hello", key="NDI=", headers={"a": "b"})
    made = source(value="text").read_again(bad)
    assert (made.key, made.data, made.id) == ("42", {"value": "hello", "h": {"a": "b"}}, "i1")
    with pytest.raises(DataError):
        source(value="json").read_again(bad)
    assert source(value="text").read_again(unread(b"", key="NDI=", value=None)).change == "delete"
    with pytest.raises(DataError, match="older version"):
        source().read_again(unread(b"{}"))


def test_an_item_of_an_api_by_todays_key() -> None:
    bad = unread(b'{"number": 7, "total": 1.5}')
    made = HttpPolling("https://api.example", key="number").read_again(bad)
    assert (made.key, made.data) == ("7", {"number": 7, "total": 1.5})
    again = HttpPolling("https://api.example", key="number").read_again(bad)
    assert made.id == again.id
    with pytest.raises(DataError, match="no id"):
        HttpPolling("https://api.example", key="id").read_again(bad)


def test_a_row_of_an_outbox_that_is_gone_from_its_table() -> None:
    row = {"id": 7, "aggregatetype": "order", "aggregateid": "A", "type": "t", "payload": b'{"a":'}
    bad = OutboxColumns().record(row, "outbox")
    assert bad.unreadable is not None
    with pytest.raises(DataError, match="no JSON"):
        OutboxColumns().record_again(bad, "outbox")
    row = {"id": 7, "kind": "order", "nr": "A", "body": b'{"a": 1}'}
    bad = OutboxColumns().record(row, "outbox")
    mended = OutboxColumns(stream="kind", key="nr", type="", payload="body")
    made = mended.record_again(bad, "outbox")
    assert (made.key, made.data, made.stream, made.id) == ("A", {"a": 1}, "order", "7")


class Old(Source):
    """A source of somebody's that knows nothing of it."""

    read: Callable[..., Any] = None  # type: ignore[assignment]


def test_a_source_that_cannot_says_what_to_do() -> None:
    with pytest.raises(DataError, match="Old cannot read it again: mend it at its system"):
        Old().read_again(unread(b"x"))
