"""Debezium's messages become records: changes of any database, and what is about changes."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from debezium_messages import envelope, message, records, source, with_schema
from trunkline.connectors.debezium import UNCHANGED
from trunkline.connectors.debezium.placeholders import Placeholder
from trunkline.connectors.debezium.source import PLACEHOLDER
from trunkline.errors import ConfigurationError

KEY = {"ID": 7}


@pytest.mark.parametrize(
    ("op", "before", "after", "change", "data"),
    [
        ("c", None, {"ID": 7, "N": "a"}, "create", {"ID": 7, "N": "a"}),
        ("r", None, {"ID": 7, "N": "a"}, "snapshot", {"ID": 7, "N": "a"}),
        ("u", {"ID": 7, "N": "a"}, {"ID": 7, "N": "b"}, "update", {"ID": 7, "N": "b"}),
        ("u", None, {"ID": 7, "N": "b"}, "update", {"ID": 7, "N": "b"}),
        ("d", {"ID": 0, "N": None}, None, "delete", {"ID": 7, "N": None}),
        ("d", None, None, "delete", {"ID": 7}),
    ],
)
@pytest.mark.parametrize("connector", ["oracle", "sqlserver", "db2", "mysql", "postgresql"])
def test_a_change_of_a_row(
    op: str, before: Any, after: Any, change: str, data: Any, connector: str
) -> None:
    (record,) = records(source(), message(envelope(op, before, after, connector), KEY, offset=5))
    assert (record.change, record.key, record.data) == (change, "7", data)
    assert (record.stream, record.place, record.id) == ("t", "t/0/5", "id-of-t/0/5")
    assert record.time == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC), "the database's"
    assert record.unreadable is None


def test_schemas_may_come_along() -> None:
    columns = [("ID", "int32", "", {})]
    value = with_schema(envelope("c", None, {"ID": 7}), columns)
    key = {"schema": {"type": "struct", "fields": []}, "payload": KEY}
    (record,) = records(source(), message(value, key))
    assert (record.change, record.key, record.data) == ("create", "7", KEY)


def test_a_key_of_several_columns_is_all_of_them_in_their_order() -> None:
    key = {"ORDER_ID": 7, "LINE": "b"}
    (record,) = records(source(), message(envelope("c", None, {"X": 1}), key))
    assert record.key == '["7","b"]'


def test_a_truncate_has_no_key() -> None:
    (record,) = records(source(), message(envelope("t"), None))
    assert (record.change, record.key, record.data) == ("truncate", "", {})


def test_a_tombstone_behind_its_delete_is_no_record_of_its_own() -> None:
    deleted = message(envelope("d", {"ID": 7}), KEY)
    assert [r.change for r in records(source(), deleted, message(None, KEY))] == ["delete"]


@pytest.mark.parametrize(
    "between",
    [
        pytest.param([], id="as compaction leaves it"),
        pytest.param([message(envelope("d", {"ID": 8}), {"ID": 8})], id="another one's delete"),
        pytest.param([message(envelope("d"), KEY, partition=1)], id="in another partition"),
        pytest.param(
            [message(envelope("d"), KEY), message(envelope("c", None, KEY), KEY)], id="back again"
        ),
    ],
)
def test_a_tombstone_without_its_delete_is_the_delete(between: list[Any]) -> None:
    *_, record = records(source(), *between, message(None, KEY))
    assert (record.change, record.key, record.data) == ("delete", "7", KEY)


def test_the_position_knows_whose_tombstone_may_come() -> None:
    class Reader:
        def position(self) -> Any:
            return {"cluster": "c", "parts": {"t": {"id": "x", "next": {"0": 1}}}}

    before, after = source(), source()
    assert records(before, message(envelope("d", {"ID": 7}), KEY))
    position = before._position(Reader())  # type: ignore[arg-type]
    assert json.loads(json.dumps(position)) == position
    after._begin(position)
    assert records(after, message(None, KEY)) == []
    assert after._position(Reader()) == Reader().position()  # type: ignore[arg-type]


def test_large_values_that_an_update_left_alone() -> None:
    row = {"ID": 7, "TEXT": "__debezium_unavailable_value", "RAW": None, "TAGS": None}
    raw = base64.b64encode(b"__debezium_unavailable_value").decode()
    row |= {"RAW": raw, "TAGS": ["__debezium_unavailable_value"]}
    columns = [("RAW", "bytes", "", {}), ("TEXT", "string", "io.debezium.data.Json", {})]
    for value in (envelope("u", None, dict(row)), with_schema(envelope("u", None, row), columns)):
        (record,) = records(source(), message(value, KEY))
        assert record.data == {"ID": 7, "TEXT": UNCHANGED, "RAW": UNCHANGED, "TAGS": UNCHANGED}


@pytest.mark.parametrize(
    "value",
    [
        list(PLACEHOLDER.encode()),  # integer[], bigint[]
        {PLACEHOLDER: PLACEHOLDER},  # hstore as a map
        ["b68a35a7-17ad-35b3-af2a-ae46edb4545a"],  # uuid[]
        {"wkb": "AQEAACDmEAAAAAAA/IPXl8EAAAD8g9eXwQ==", "srid": 4326},  # geometry
        {"wkb": bytes.fromhex("0101000020E61000000C21E7FDFF7F66401842CEFBFF7F5640"), "srid": 4326},
        {"x": -99999999.0, "y": -99999999.0, "wkb": "AQEAAAA=", "srid": None},  # point
    ],
)
def test_each_form_of_what_stands_for_a_large_value(value: object) -> None:
    assert Placeholder(PLACEHOLDER).stands_for(value)


@pytest.mark.parametrize("value", [[], [95, 95], {}, {"x": 1.0, "y": 2.0, "wkb": "AQ=="}, 5, None])
def test_what_is_a_value_and_stands_for_none(value: object) -> None:
    assert not Placeholder(PLACEHOLDER).stands_for(value)


def test_a_placeholder_in_the_image_that_is_not_read_spoils_nothing() -> None:
    value = envelope("u", {"ID": 7, "DOC": PLACEHOLDER}, {"ID": 7, "DOC": "[1]"})
    columns = [("DOC", "string", "io.debezium.data.Json", {})]
    (record,) = records(source(), message(with_schema(value, columns), KEY))
    assert record.data == {"ID": 7, "DOC": [1]}


@pytest.mark.parametrize(
    "value",
    [
        {"op": [], "source": {}},
        {"op": "m", "source": {}},
        {"op": "m", "source": {}, "message": "text"},
        envelope("u", None, {"ID": 7, "DOC": "[" * 1500 + "]" * 1500}),
    ],
)
def test_what_has_a_strange_form_is_a_dead_letter_and_stops_nothing(value: object) -> None:
    (record,) = records(source(types={"DOC": "Json"}), message(value, KEY))
    assert record.unreadable is not None


def test_what_nobody_has_foreseen_is_a_dead_letter_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = source()
    monkeypatch.setattr(of, "_interpret", lambda *_: {}["what nobody has foreseen"])
    (record,) = records(of, message({}, KEY))
    assert record.unreadable is not None
    assert "foreseen" in str(record.unreadable.error)
    assert record.unreadable.raw == b"{}"


def test_a_placeholder_and_a_marker_of_ones_own() -> None:
    of = source(placeholder="?", unchanged=None)
    (record,) = records(of, message(envelope("u", None, {"ID": 7, "TEXT": "?"}), KEY))
    assert record.data == {"ID": 7, "TEXT": None}


def test_operation_and_source_are_data_if_asked_for() -> None:
    of = source(metadata_field="dbz", headers_field="headers")
    value = envelope("u", None, {"ID": 7}, scn="12") | {
        "transaction": {"id": "571", "total_order": 1}
    }
    (record,) = records(of, message(value, KEY, headers=[("region", b"eu"), ("none", None)]))  # type: ignore[list-item]
    assert record.data["dbz"]["source"]["scn"] == "12"
    assert record.data["dbz"]["transaction"]["id"] == "571"
    assert record.data["headers"] == {"region": "eu", "none": None}


def test_a_transactions_begin_and_end_are_records() -> None:
    begin = {"status": "BEGIN", "id": "571:53195829", "ts_ms": 1_486_500_577_125}
    begin |= {"event_count": None, "data_collections": None}
    (record,) = records(source(), message(begin, {"id": "571:53195829"}))
    assert (record.change, record.key, record.data) == ("create", "571:53195829", begin)
    assert record.time.year == 2017


def test_a_change_of_the_schema_is_a_record() -> None:
    value = {
        "source": {"connector": "oracle", "ts_ms": 1},
        "ts_ms": 2,
        "databaseName": "ORCL",
        "ddl": "ALTER TABLE …",
        "tableChanges": [],
    }
    (record,) = records(source(), message(value, {"databaseName": "ORCL"}))
    assert (record.change, record.key, record.data["ddl"]) == ("create", "ORCL", "ALTER TABLE …")


def test_a_logical_message_is_a_record() -> None:
    columns = [("content", "bytes", "", {})]
    value = envelope("m", connector="postgresql") | {
        "message": {"prefix": "audit", "content": "aGk="}
    }
    fields = with_schema({"after": None}, columns)["schema"]["fields"][0]
    schema = {"type": "struct", "fields": [{**fields, "field": "message"}]}
    (record,) = records(
        source(), message({"schema": schema, "payload": value}, {"prefix": "audit"})
    )
    assert record.data == {"prefix": "audit", "content": b"hi"}


@pytest.mark.parametrize(
    ("marks", "change"),
    [
        ({"__op": "c"}, "create"),
        ({"__op": "u", "__deleted": "false"}, "update"),
        ({"__op": "r"}, "snapshot"),
        ({"__deleted": "true"}, "delete"),
        ({"__op": "d", "__deleted": "true"}, "delete"),
    ],
)
def test_rows_that_were_made_flat(marks: dict[str, str], change: str) -> None:
    row = {"ID": 7, "N": "a", "__source_ts_ms": 1_000, **marks}
    (record,) = records(source(), message(row, KEY))
    assert (record.change, record.data["N"], record.time.timestamp()) == (change, "a", 1.0)
    assert not {"__op", "__deleted"} & record.data.keys()


@pytest.mark.parametrize(
    ("value", "key", "told"),
    [
        (b"{", KEY, "no JSON"),
        ([1], KEY, "a table of fields"),
        ({"ID": 7}, KEY, "no envelope"),
        (envelope("x", None, KEY), KEY, "operation 'x'"),
        (envelope("u"), KEY, "no row behind it"),
        (envelope("u", None, [1]), KEY, "a table of columns"),
        (envelope("c", None, "{}", "mongodb"), KEY, "mongodb=True"),
        (envelope("c", None, KEY), {"ID": None}, "'ID'"),
        (envelope("c", None, KEY), {"ID": [1]}, "'ID'"),
        (envelope("c", None, KEY), b"\xff", "no JSON"),
        ({"schema": {"type": "struct"}, "payload": envelope("c", None, KEY)}, KEY, "schema"),
    ],
)
def test_what_is_none_of_debeziums_is_unreadable_with_its_bytes(
    value: Any, key: Any, told: str
) -> None:
    bad = message(value, key)
    (record,) = records(source(), bad)
    assert record.unreadable is not None
    assert told in str(record.unreadable.error)
    assert record.unreadable.raw == bad.value()
    assert (record.place, record.stream, record.data) == ("t/0/0", "t", {})


@pytest.mark.parametrize(
    "options",
    [
        {"topics": ()},
        {"topics": ("a", "a")},
        {"format": "xml"},
        {"format": "avro"},  # whose registry nobody named
        {"key_format": "xml"},
        {"start": "now"},
        {"batch": 0},
        {"types": {"a": "Money"}},
        {"types": {"a": "Decimal"}},
    ],
)
def test_arguments_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        source(**options)
