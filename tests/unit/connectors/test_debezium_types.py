"""Each special encoding of Debezium's, in JSON with schemas, in Avro, and by a flow's hints."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from debezium_messages import envelope, message, records, source, unscaled, with_schema
from trunkline.connectors.debezium.schemas import of_avro
from trunkline.connectors.debezium.semantics import decimal_of
from trunkline.schemas import avro
from trunkline.schemas.exact.read import exact_reader
from trunkline.schemas.exact.write import exact_writer

CONNECT, TIME, DATA = (
    "org.apache.kafka.connect.data.",
    "io.debezium.time.",
    "io.debezium.data.",
)
KEY = {"ID": 7}
UUID = "3b241101-e2bb-4255-8caf-4136c566a962"
DAY_MICROS = 1_709_208_000_000_001  # 2024-02-29T12:00:00.000001
B64 = base64.b64encode


CASES: list[tuple[str, str, dict[str, str], Any, Any]] = [
    ("bytes", CONNECT + "Decimal", {"scale": "2"}, unscaled("-12.34", 2), Decimal("-12.34")),
    ("bytes", CONNECT + "Decimal", {"scale": "0"}, "AA==", Decimal(0)),
    ("bytes", CONNECT + "Decimal", {"scale": "30"}, unscaled("1E-30", 30), Decimal("1E-30")),
    ("int32", CONNECT + "Date", {}, 19_782, date(2024, 2, 29)),
    ("int32", CONNECT + "Time", {}, 1, time(0, 0, 0, 1000)),
    ("int64", CONNECT + "Timestamp", {}, 1, datetime(1970, 1, 1, 0, 0, 0, 1000, UTC)),
    ("int32", TIME + "Date", {}, -1, date(1969, 12, 31)),
    ("int32", TIME + "Date", {}, 10**9, 10**9),  # no year of Python's
    ("int32", TIME + "Time", {}, 86_399_999, time(23, 59, 59, 999_000)),
    ("int64", TIME + "MicroTime", {}, 1, time(0, 0, 0, 1)),
    ("int64", TIME + "NanoTime", {}, 1000, time(0, 0, 0, 1)),
    ("int64", TIME + "NanoTime", {}, 1001, "00:00:00.000001001"),
    ("int64", TIME + "MicroTime", {}, 86_400_000_000, 86_400_000_000),  # 24:00
    ("int64", TIME + "Timestamp", {}, -1, datetime(1969, 12, 31, 23, 59, 59, 999_000)),
    ("int64", TIME + "MicroTimestamp", {}, DAY_MICROS, datetime(2024, 2, 29, 12, 0, 0, 1)),
    ("int64", TIME + "MicroTimestamp", {}, 2**63 - 1, 2**63 - 1),  # infinity
    ("int64", TIME + "NanoTimestamp", {}, 1000, datetime(1970, 1, 1, 0, 0, 0, 1)),
    ("int64", TIME + "NanoTimestamp", {}, 1100, "1970-01-01T00:00:00.000001100"),
    ("string", TIME + "ZonedTimestamp", {}, "2024-02-29T12:00:00.5Z",
     datetime(2024, 2, 29, 12, 0, 0, 500_000, UTC)),
    ("string", TIME + "ZonedTimestamp", {}, "2024-02-29T12:00:00.123456700Z",
     "2024-02-29T12:00:00.123456700Z"),
    ("string", TIME + "ZonedTimestamp", {}, "2024-02-29T12:00:00.123456000Z",
     datetime(2024, 2, 29, 12, 0, 0, 123_456, UTC)),
    ("string", TIME + "ZonedTime", {}, "12:00:00Z", "12:00:00Z"),
    ("string", TIME + "Interval", {}, "P1Y2M", "P1Y2M"),
    ("int64", TIME + "MicroDuration", {}, 5, 5),
    ("int32", TIME + "Year", {}, 2024, 2024),
    ("string", TIME + "IsoTimestamp", {}, "2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z"),
    ("string", DATA + "Uuid", {}, UUID, uuid.UUID(UUID)),
    ("bytes", DATA + "Bits", {"length": "12"}, B64(b"\x01\x08").decode(), 0x0801),
    ("string", DATA + "Json", {}, '{"a": 12345678901234567890.5}',
     {"a": Decimal("12345678901234567890.5")}),
    ("string", DATA + "Enum", {"allowed": "a,b"}, "a", "a"),
    ("string", DATA + "EnumSet", {"allowed": "a,b"}, "a,b", "a,b"),
    ("string", DATA + "Xml", {}, "<a/>", "<a/>"),
    ("bytes", "", {}, "aGk=", b"hi"),
    ("double", "", {}, 5.6843418860808015e-14, 5.6843418860808015e-14),
    ("float", "", {}, "NaN", None),
    ("string", "a.name.that.nobody.knows", {}, "x", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "parameters", "written", "value"), CASES)
def test_in_json_with_schemas(
    kind: str, name: str, parameters: dict[str, str], written: Any, value: Any
) -> None:
    columns = [("C", kind, name, parameters), ("EMPTY", kind, name, parameters)]
    payload = envelope("c", None, {"C": written, "EMPTY": None})
    (record,) = records(source(), message(with_schema(payload, columns), KEY))
    assert record.unreadable is None
    if written == "NaN":
        assert record.data["C"] != record.data["C"]
        return
    assert record.data == {"C": value, "EMPTY": None}
    assert type(record.data["C"]) is type(value)


_AVRO = {"int32": "int", "int64": "long", "string": "string", "bytes": "bytes", "double": "double"}
_LOGICAL = {
    CONNECT + "Date": {"logicalType": "date"},
    CONNECT + "Time": {"logicalType": "time-millis"},
    CONNECT + "Timestamp": {"logicalType": "timestamp-millis"},
    CONNECT + "Decimal": {"logicalType": "decimal", "precision": 64},
}
"""Confluent's converter says it of Connect's own types."""


@pytest.mark.parametrize(
    ("kind", "name", "parameters", "written", "value"), [c for c in CASES if c[0] in _AVRO]
)
def test_in_avro(
    kind: str, name: str, parameters: dict[str, str], written: Any, value: Any
) -> None:
    more = {key: int(text) if key == "scale" else text for key, text in parameters.items()}
    column: Any = {
        "type": _AVRO[kind],
        "connect.version": 1,
        "connect.name": name,
        "connect.parameters": parameters,
        **(more if "Decimal" in name else {}),
    }
    raw = base64.b64decode(written) if kind == "bytes" else written
    plain = {"type": "record", "name": "shop.Value", "fields": [
        {"name": "C", "type": ["null", {**column}]},
    ]}  # fmt: skip
    envelope_of = {"type": "record", "name": "Envelope", "namespace": "shop", "fields": [
        {"name": "before", "type": ["null", plain]},
        {"name": "after", "type": ["null", "Value"]},
    ]}  # fmt: skip
    encoded = exact_writer(avro.parse_written(json.dumps(envelope_of)))(
        {"before": None, "after": {"C": raw}}
    )
    # Written as plain bytes and numbers, and read as the converter's schema says.
    text = json.dumps(envelope_of)
    if name in _LOGICAL:
        text = json.dumps(
            json.loads(
                text, object_hook=lambda d: {**d, **_LOGICAL[name]} if d.get("connect.name") else d
            )
        )
    schema = avro.parse_written(text)
    read, _ = exact_reader(schema, schema)(encoded, 0)
    convert = of_avro(json.loads(text))
    found = (convert(read) if convert else read)["after"]["C"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("hint", "written", "value"),
    [
        ("Decimal(2)", unscaled("12.34", 2), Decimal("12.34")),
        ("decimal", "12.34", Decimal("12.34")),  # decimal.handling.mode=string
        ("double", 12, 12.0),
        ("bytes", "aGk=", b"hi"),
        ("Date", 1, date(1970, 1, 2)),
        ("MicroTimestamp", 1, datetime(1970, 1, 1, 0, 0, 0, 1)),
        (CONNECT + "Timestamp", 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("VariableScaleDecimal", {"scale": 1, "value": unscaled("1.5", 1)}, Decimal("1.5")),
    ],
)
def test_in_json_without_schemas_a_flow_says_it(hint: str, written: Any, value: Any) -> None:
    of = source(types={"C": hint, "other:ID": "Date"})
    change = envelope("c", None, {"C": written, "ID": 7, "N": None})
    (record,) = records(of, message(change, KEY))
    assert record.data == {"C": value, "ID": 7, "N": None}
    assert record.key == "7", "a hint of another topic"


def test_a_key_is_converted_as_its_row_is() -> None:
    of = source(types={"t:ID": "Date"})
    (record,) = records(of, message(envelope("c", None, {"ID": 1}), {"ID": 1}))
    assert (record.key, record.data) == ("1970-01-02", {"ID": date(1970, 1, 2)})


def test_json_columns_can_stay_texts() -> None:
    columns = [("C", "string", DATA + "Json", {})]
    value = with_schema(envelope("c", None, {"C": "[1]"}), columns)
    (record,) = records(source(json="text"), message(value, KEY))
    assert record.data == {"C": "[1]"}


def test_lists_maps_and_tables_inside_of_a_row() -> None:
    date_ = {"type": "int32", "name": TIME + "Date", "optional": True}
    point = {"type": "struct", "name": DATA + "geometry.Point", "fields": [
        {"type": "double", "field": "x"},
        {"type": "bytes", "field": "wkb"},
    ]}  # fmt: skip
    number = {"type": "struct", "name": DATA + "VariableScaleDecimal", "fields": [
        {"type": "int32", "field": "scale"},
        {"type": "bytes", "field": "value"},
    ]}  # fmt: skip
    columns: list[Any] = [
        {"type": "array", "items": date_, "field": "DAYS"},
        {"type": "map", "keys": {"type": "string"}, "values": date_, "field": "BY"},
        {**point, "field": "AT"},
        {**number, "field": "N"},
    ]
    schema = {"type": "struct", "fields": [{"type": "struct", "fields": columns, "field": "after"}]}
    row = {"DAYS": [0, None], "BY": {"a": 1, "b": None}, "AT": {"x": 1, "wkb": "aGk="}}
    row["N"] = {"scale": 3, "value": unscaled("0.005", 3)}
    value = {"schema": schema, "payload": envelope("c", None, row)}
    (record,) = records(source(), message(value, KEY))
    assert record.data == {
        "DAYS": [date(1970, 1, 1), None],
        "BY": {"a": date(1970, 1, 2), "b": None},
        "AT": {"x": 1.0, "wkb": b"hi"},
        "N": Decimal("0.005"),
    }


def test_a_schema_that_changes_is_followed() -> None:
    of, found = source(), []
    for name, parameters in (
        (CONNECT + "Decimal", {"scale": "1"}),
        ("", {}),
        (CONNECT + "Decimal", {"scale": "2"}),
    ):
        value = with_schema(envelope("c", None, {"C": "AQ=="}), [("C", "bytes", name, parameters)])
        (record,) = records(of, message(value, KEY))
        found.append(record.data["C"])
    assert found == [Decimal("0.1"), b"\x01", Decimal("0.01")]


@pytest.mark.parametrize(
    ("kind", "name", "parameters", "written"),
    [
        ("bytes", CONNECT + "Decimal", {"scale": "many"}, "AA=="),
        ("bytes", CONNECT + "Decimal", {"scale": "999999999"}, "AA=="),
        ("bytes", CONNECT + "Decimal", {"scale": "2"}, "no base64"),
        ("bytes", CONNECT + "Decimal", {"scale": "2"}, [1, "x"]),
        ("int32", TIME + "Date", {}, "soon"),
        ("string", TIME + "ZonedTimestamp", {}, 5),
        ("string", DATA + "Uuid", {}, "x"),
        ("string", DATA + "Json", {}, "{"),
        ("double", "", {}, {}),
        ("array", "", {}, 5),
    ],
)
def test_a_value_that_its_schema_denies_is_unreadable(
    kind: str, name: str, parameters: dict[str, str], written: Any
) -> None:
    column = ("C", kind, name, parameters)
    value = with_schema(envelope("c", None, {"C": written}), [column])
    if kind == "array":
        value["schema"]["fields"][1]["fields"][0]["items"] = {"type": "bytes"}
    (record,) = records(source(), message(value, KEY))
    assert record.unreadable is not None
    assert record.key == "7", "a person finds it by its key"


def test_a_decimal_that_would_keep_all_threads_for_minutes_is_refused() -> None:
    convert = decimal_of(0)
    assert convert(b"\x7f" * 1000).is_finite()
    with pytest.raises(ValueError, match="100000 bytes"):
        convert(bytes(100_000))
