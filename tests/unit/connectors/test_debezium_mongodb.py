"""Documents of Debezium's MongoDB connector become records."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from debezium_messages import envelope, message, records, source
from trunkline.connectors.debezium import DebeziumSource

OID = "596e275826f08b2730779e1f"
WRITTEN_OID = json.dumps({"$oid": OID})
FINE = "0.10000000000000000000000000000001"


def of_mongodb() -> DebeziumSource:
    return source(mongodb=True)


def document(op: str, fields: Any) -> dict[str, Any]:
    text = None if fields is None else json.dumps(fields)
    return envelope(op, None, text, "mongodb", collection="customers")


@pytest.mark.parametrize(
    ("id", "key"),
    [
        (WRITTEN_OID, OID),
        ("1004", "1004"),
        ('{"$numberLong": "9007199254740993"}', "9007199254740993"),
        ('"anna"', "anna"),
        (
            '{"$uuid": "3b241101-e2bb-4255-8caf-4136c566a962"}',
            "3b241101-e2bb-4255-8caf-4136c566a962",
        ),
        ('{"a": 1, "b": "x"}', '{"a":1,"b":"x"}'),
    ],
)
def test_the_key_is_the_documents_id(id: str, key: str) -> None:
    (record,) = records(of_mongodb(), message(document("c", {"_id": 1}), {"id": id}))
    assert (record.key, record.unreadable) == (key, None)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ({"$oid": OID}, OID),
        ({"$numberInt": "-5"}, -5),
        ({"$numberLong": "9223372036854775807"}, 2**63 - 1),
        ({"$numberDouble": "2.5"}, 2.5),
        ({"$numberDecimal": FINE}, Decimal(FINE)),
        ({"$date": "2024-02-29T12:00:00.5Z"}, datetime(2024, 2, 29, 12, 0, 0, 500_000, UTC)),
        ({"$date": {"$numberLong": "1000"}}, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ({"$date": 1000}, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ({"$date": {"$numberLong": "9" * 18}}, int("9" * 18)),
        ({"$binary": {"base64": "aGk=", "subType": "00"}}, b"hi"),
        ({"$binary": "aGk=", "$type": "00"}, b"hi"),
        ({"$binary": {"base64": "OyQRAeK7QlWMr0E2xWapYg==", "subType": "04"}},
         uuid.UUID("3b241101-e2bb-4255-8caf-4136c566a962")),
        ({"$undefined": True}, None),
        ({"$timestamp": {"t": 1, "i": 2}}, {"$timestamp": {"t": 1, "i": 2}}),
        ({"$minKey": 1}, {"$minKey": 1}),
        ({"a": [{"$oid": OID}, {"b": {"$numberInt": "1"}}]}, {"a": [OID, {"b": 1}]}),
        (None, None),
        ("$5", "$5"),
    ],
)  # fmt: skip
def test_extended_json(written: Any, value: Any) -> None:
    fields = {"_id": 1, "field": written}
    (record,) = records(of_mongodb(), message(document("u", fields), {"id": "1"}))
    assert record.unreadable is None
    assert (record.change, record.data) == ("update", {"_id": 1, "field": value})
    assert type(record.data["field"]) is type(value)


def test_a_delete_has_the_id() -> None:
    key = {"id": WRITTEN_OID}
    (record,) = records(of_mongodb(), message(document("d", None), key), message(None, key))
    assert (record.change, record.key, record.data) == ("delete", OID, {"_id": OID})


@pytest.mark.parametrize(
    ("value", "key", "told"),
    [
        (document("u", None), {"id": "1"}, "change_streams_update_full"),
        (document("u", [1]), {"id": "1"}, "a table of fields"),
        (document("c", {"n": {"$numberInt": "many"}}), {"id": "1"}, "extended JSON"),
        (document("c", {"_id": 1}), {"id": "{"}, "extended JSON"),
        (document("c", {"_id": 1}), {"id": 1}, "as text"),
        (document("c", {"_id": 1}), {"id": "[" * 100_000}, "extended JSON"),
    ],
)
def test_what_cannot_be_read(value: Any, key: Any, told: str) -> None:
    (record,) = records(of_mongodb(), message(value, key))
    assert record.unreadable is not None
    assert told in str(record.unreadable.error)
