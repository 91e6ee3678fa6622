"""FileSource's formats: what is a row, what is a bad one, and that the rest of the file is read."""

from __future__ import annotations

import codecs
import json
import random
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from files_kit import bad, batches, records, rows, source_of
from trunkline.connectors.files import Csv, JsonLines
from trunkline.errors import ConfigurationError


def read(folder: Path, content: bytes, **more: Any) -> list[Any]:
    """The batches of one file; each row also read on from each position before it."""
    (folder / "a.csv").write_bytes(content)
    whole = batches(source_of(folder, **more))
    single = batches(source_of(folder, batch=1, **more))
    ids = [record.id for record in records(single)]
    assert ids == [record.id for record in records(whole)]
    for n, batch in enumerate(single[: len(ids)]):
        rest = records(batches(source_of(folder, **more), batch.position))
        assert [record.id for record in rest] == ids[n + 1 :], f"from batch {n} on"
        assert [record.data for record in rest] == [r.data for r in records(single)[n + 1 :]]
    return whole


def data(given: list[Any]) -> list[dict[str, Any]]:
    return [record.data for record in records(given) if record.unreadable is None]


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"id,note\n1,x\n2,y\n", Csv()),
        (b"id,note\r\n1,x\r\n2,y\r\n", Csv()),
        (b"id,note\n1,x\n2,y", Csv()),
        (codecs.BOM_UTF8 + b"id,note\n1,x\n2,y\n", Csv()),
        (b"\nid,note\n\n1,x\n\r\n2,y\n\n", Csv()),
        (b"id;note\n'1';'x'\n2;y\n", Csv(delimiter=";", quote="'")),
        (b"id\tnote\n1\tx\n2\ty\n", Csv(delimiter="\t", quote="")),
        (b"1,x\n2,y\n", Csv(header=("id", "note"))),
        (codecs.BOM_UTF8 + b"1,x\n2,y\n", Csv(header=("id", "note"))),
        (b"Report\nof today\nid,note\n1,x\n2,y\n", Csv(skip=2)),
        (b'{"id": "1", "note": "x"}\n\n{"id": "2", "note": "y"}', JsonLines()),
        (
            codecs.BOM_UTF8 + b'{"id": "1", "note": "x"}\r\n{"id": "2", "note": "y"}\r\n',
            JsonLines(),
        ),
    ],
    ids=repr,
)
def test_two_rows_in_many_forms(tmp_path: Path, content: bytes, form: Any) -> None:
    given = read(tmp_path, content, format=form)
    assert data(given) == [{"id": "1", "note": "x"}, {"id": "2", "note": "y"}]
    assert bad(given) == []


def test_quoted_line_breaks_quotes_and_delimiters(tmp_path: Path) -> None:
    content = b'id,note\r\n1,"two\r\nlines, and ""more"""\r\n2,"\n\n"\r\n3,5" pipe\r\n'
    given = read(tmp_path, content)
    notes = ['two\r\nlines, and "more"', "\n\n", '5" pipe']
    assert [row["note"] for row in data(given)] == notes
    assert [r.place for r in records(given)] == ["a.csv:2", "a.csv:4", "a.csv:7"]


def test_a_header_may_have_line_breaks(tmp_path: Path) -> None:
    given = read(tmp_path, b'id,"note\n(short)"\n1,x\n2,y\n')
    assert data(given)[1] == {"id": "2", "note\n(short)": "y"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"2\n", "the row has 1 fields, the header 2"),
        (b"2,y,z\n", "the row has 3 fields, the header 2"),
        (b'2,"y"z\n', "the row cannot be parsed: ',' expected after '\"'"),
        (b"2,\xff\n", "the line is not utf-8: byte 0xff (invalid start byte)"),
        (b",y\n", "the row has no key: id is empty"),
        (b"2,never" + b"!" * 2000 + b"\n", "the row has more than 1000 bytes"),
        (b'2,"never closed\n', "the row has more than 1000 bytes"),
    ],
    ids=["short", "long", "quote", "encoding", "no key", "huge", "open quote"],
)
def test_a_bad_row_has_its_line_and_bytes_and_the_others_are_read(
    tmp_path: Path, line: bytes, error: str
) -> None:
    rest = b"".join(b"%d,%s\n" % (n, b"x" * 60) for n in range(3, 30))
    given = read(tmp_path, b"id,note\n1,x\n" + line + rest, max_row=1000)
    assert rows(given) == ["1", *map(str, range(3, 30))]
    assert bad(given) == [("a.csv:3", error, line[:1000])]


def test_a_quote_that_is_open_at_the_end_costs_one_line(tmp_path: Path) -> None:
    given = read(tmp_path, b'id,note\n1,"x\n2,y\n3,z\n')
    assert rows(given) == ["2", "3"]
    assert bad(given) == [
        ("a.csv:2", "the row cannot be parsed: unexpected end of data", b'1,"x\n')
    ]


def test_a_bad_row_of_several_lines_has_all_of_them(tmp_path: Path) -> None:
    given = read(tmp_path, b'id,note\n1,"x\ny",z\n2,y\n')
    assert rows(given) == ["2"]
    assert bad(given)[0] == ("a.csv:2", "the row has 3 fields, the header 2", b'1,"x\ny",z\n')


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{\n", "the line is no JSON: Expecting property name enclosed in double quotes"),
        (b"[1]\n", "the line holds no object, but a list"),
        (b'{"id": NaN}\n', "NaN is no JSON number"),
        (b'{"note": 1}\n', "the object lacks id"),
        (b'{"id": null}\n', "NoneType is no single value"),
        (b'{"id": ""}\n', "the row has no key: id is empty"),
        (b'{"id": "\xe9"}\n', "the line is not utf-8: byte 0xe9"),
        (b"[" * 100_000 + b"\n", "the line is JSON that is nested too deeply"),
        (b"1" * 5000 + b"\n", "the row cannot be parsed: Exceeds the limit"),
    ],
    ids=["syntax", "list", "nan", "lacks", "null", "empty", "encoding", "nested", "digits"],
)
def test_a_bad_line_of_json(tmp_path: Path, line: bytes, error: str) -> None:
    given = read(tmp_path, b'{"id": 1}\n' + line + b'{"id": 2}\n', format=JsonLines())
    assert rows(given) == ["1", "2"]
    ((place, said, raw),) = bad(given)
    assert (place, raw) == ("a.csv:2", line)
    assert said.startswith(error)


def test_json_numbers_keep_their_digits(tmp_path: Path) -> None:
    line = b'{"id": 123456789012345678901234567890, "x": 0.10000000000000000001}\n'
    (row,) = data(read(tmp_path, line, format=JsonLines(decimals=True)))
    assert row == {"id": 123456789012345678901234567890, "x": Decimal("0.10000000000000000001")}
    assert rows(read(tmp_path, line, format=JsonLines())) == ["123456789012345678901234567890"]


def test_numbers_are_those_that_python_reads(tmp_path: Path) -> None:
    dice = random.Random(14)
    numbers = [
        "".join(dice.choice("1234567890") for _ in range(dice.randrange(1, 40))).lstrip("0") or "0"
        for _ in range(500)
    ]
    texts = [
        number
        + dice.choice(["", ".5", "e2", "E-7", "e+300", "E308", "e-324", ".123456789012345678"])
        for number in numbers
    ]
    lines = "".join(f'{{"id": {n}, "x": {text}}}\n' for n, text in enumerate(texts)).encode()
    (tmp_path / "a.csv").write_bytes(lines)
    given = data(batches(source_of(tmp_path, format=JsonLines())))
    assert [row["x"] for row in given] == [json.loads(text) for text in texts]
    assert [type(row["x"]) for row in given] == [type(json.loads(text)) for text in texts]


def test_encodings(tmp_path: Path) -> None:
    for encoding in ("latin-1", "cp1252", "shift_jis", "gb18030"):
        text = "日本" if encoding in ("shift_jis", "gb18030") else "café"
        content = f"id,note\n1,{text}\n".encode(encoding)
        (row,) = data(read(tmp_path, content, format=Csv(encoding=encoding)))
        assert row["note"] == text


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("id,note\n1,x\n".encode("utf-16"), "the file is UTF-16 or UTF-32"),
        (b"nr,note\n1,x\n", "the header lacks id"),
        (b"id,note,id\n1,x,y\n", "the header names 'id' twice"),
        (b"id,\xff\n1,x\n", "the header cannot be read: the line is not utf-8"),
        (b"id,note\r1,x\r", "the header cannot be read: the row cannot be parsed: new-line"),
        (b"x" * 3000, "the header cannot be read: the row has more than 1000 bytes"),
    ],
    ids=["utf-16", "lacks", "twice", "encoding", "carriage returns", "huge"],
)
def test_a_file_that_cannot_be_read_is_one_dead_letter(
    tmp_path: Path, content: bytes, error: str
) -> None:
    given = read(tmp_path, content, max_row=1000)
    ((place, said, raw),) = bad(given)
    assert (place, rows(given)) == ("a.csv", [])
    assert said.startswith(error)
    assert content.startswith(raw[:3])
    assert len(raw) <= 1000
    assert not records(batches(source_of(tmp_path), given[-1].position)), "told once"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"id,note\n", codecs.BOM_UTF8])
def test_an_empty_file_has_no_rows_and_may_grow(tmp_path: Path, content: bytes) -> None:
    given = read(tmp_path, content)
    assert records(given) == []
    (tmp_path / "a.csv").write_bytes(content.replace(b"id,note\n", b"") + b"id,note\n1,x\n")
    assert rows(batches(source_of(tmp_path), given[-1].position)) == ["1"]


def test_a_huge_line_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(b"id,note\n1,x\n2,")
        for _ in range(64):
            file.write(b"y" * 1_000_000)
        file.write(b"\n3,x\n")
    tracemalloc.start()
    given = batches(source_of(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (rows(given), bad(given)[0][0]) == (["1", "3"], "a.csv:3")
    assert peak < 10_000_000


@pytest.mark.parametrize("key", [("id", "note"), lambda row: f"{row['id']}-{row['note']}", None])
def test_keys(tmp_path: Path, key: Any) -> None:
    (record,) = records(read(tmp_path, b"id,note\n1,x\n", key=key))
    assert record.key == ('["1","x"]' if isinstance(key, tuple) else "" if key is None else "1-x")


def test_a_key_function_that_fails_makes_a_bad_row(tmp_path: Path) -> None:
    given = read(tmp_path, b"id,note\n1,x\n2,y\n", key=lambda row: {"1": "one"}[row["id"]])
    assert rows(given) == ["one"]
    assert bad(given) == [("a.csv:3", "key=: KeyError('2')", b"2,y\n")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "utf-16"},
        {"encoding": "cp037"},
        {"encoding": "klingon"},
        {"delimiter": ""},
        {"delimiter": ";;"},
        {"delimiter": '"'},
        {"quote": "''"},
        {"header": False},
        {"header": "id"},
        {"header": ("id", "id")},
        {"header": ()},
        {"skip": -1},
    ],
    ids=repr,
)
def test_what_cannot_be_a_format_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Csv(**wrong)
