"""A source's dead letter keeps all of its record: what comes out of it is what went in."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letters_kit import letter
from trunkline import Record
from trunkline.errors import DataError
from trunkline.event import Unreadable
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.publish import kept_records
from trunkline.streams.publish.publisher import Publisher

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)

single = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.timedeltas()
    | st.uuids()
)
names = st.text(st.characters(exclude_categories=["Cs"]))
rows = st.dictionaries(
    names, st.recursive(single, lambda s: st.lists(s) | st.dictionaries(names, s), max_leaves=8)
)


def refuse(record: Record) -> DeadLetter:
    """The dead letter of a record that no topic takes."""
    (made,) = Publisher("f/s", "f.s.dlq", []).publish([record]).records
    return letter(key=made.key, value=made.value, headers=made.headers)


@given(rows)
def test_values_are_what_they_were(data: dict[str, Any]) -> None:
    record = Record(key="a/b", data=data, stream="orders", time=NOON, place="db:7")
    assert kept_records.record_of(refuse(record)) == record


def test_what_json_makes_null_or_text_is_kept() -> None:
    data = {
        "total": Decimal("1.50"),
        "nan": math.nan,
        "at": NOON,
        "a/b~": {"list": [date(2026, 1, 2), time(3, 4)]},
        "span": timedelta(days=-1, microseconds=1),
        "id": UUID(int=7),
        "raw": b"\x00\xff",
        "large": 2**80 + 1,  # which no float is
    }
    made = kept_records.record_of(refuse(Record(key="k", data=data, time=NOON)))
    assert math.isnan(made.data.pop("nan"))
    del data["nan"]
    assert made.data == data


def test_a_raw_record_has_its_bytes_place_and_notes() -> None:
    bad = Unreadable(DataError("no"), b"a,\xff", notes={"fields": ["id", "x"]})
    record = Record(
        key="", data={}, stream="files", id="i1", time=NOON, place="o.csv:7", unreadable=bad
    )
    made = kept_records.record_of(refuse(record))
    assert made.unreadable is not None
    assert (made.unreadable.raw, made.unreadable.notes) == (bad.raw, bad.notes)
    assert str(made.unreadable.error) == "no"
    rest = replace(made, unreadable=bad, traceparent="")
    assert rest == record


@pytest.mark.parametrize(
    "record",
    [
        Record(key="k", data={"x": "y" * 50}),
        Record(key="", data={}, unreadable=Unreadable(DataError("no"), b"x" * 50)),
        Record(key="", data={}, unreadable=Unreadable(DataError("no"), b"x", cut=True)),
    ],
)
def test_what_is_not_whole_is_refused(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_records, "MAX_VALUE", 40)
    with pytest.raises(DataError, match="only its beginning"):
        kept_records.record_of(refuse(record))


def test_notes_that_are_too_long_leave_a_letter_that_says_so() -> None:
    bad = Unreadable(DataError("no"), b"x", notes={"fields": ["f" * kept_records.MAX_NOTES]})
    dead = refuse(Record(key="", data={}, unreadable=bad))
    assert dead.value == b"x"
    with pytest.raises(DataError, match="only its beginning"):
        kept_records.record_of(dead)


def test_what_is_no_letter_of_a_source_is_refused() -> None:
    for value in (None, b"", b"{}", b"[]", b"\x00\x01", b'{"key":"a","data":{},"time":"noon"}'):
        with pytest.raises(DataError, match="holds no record"):
            kept_records.record_of(letter(value=value))
    types = [("tl_types", b'{"date": ["/data/gone", "/data"]}')]
    with pytest.raises(DataError, match="holds no record"):
        kept_records.record_of(
            letter(value=b'{"key":"a","data":{},"time":"2026-01-01"}', headers=types)
        )
