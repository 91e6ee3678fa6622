"""What describes the gateway: an OpenAPI document that validators accept, and an AsyncAPI one whose
references all lead somewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypedDict

import orjson
from openapi_spec_validator import OpenAPIV31SpecValidator

from sql_items import Rich
from trunkline.access.policy import Client
from trunkline.gateway.aliases import Aliases
from trunkline.gateway.asyncapi import asyncapi
from trunkline.gateway.catalog import Offered
from trunkline.gateway.events import EventTopic, EventTopics
from trunkline.gateway.openapi import openapi
from trunkline.schemas.commerce import Order
from trunkline.schemas.plain.read import PlainReader
from trunkline.schemas.types import avro_type, schema_of
from trunkline.streams.flow.operation import OperationPolicy

VERBS = ("create", "list", "get", "search", "replace", "update", "delete", "ship")


class Node(TypedDict):
    id: str
    next: Any
    either: Any


_BRANCHES = [
    {"type": "record", "name": name, "fields": [{"name": "n", "type": "long"}]} for name in "AB"
]
avro_type(
    Node,
    json.dumps(
        {
            "type": "record",
            "name": "tests.Node",
            "fields": [
                {"name": "id", "type": "string"},
                {"name": "next", "type": ["null", "tests.Node"], "default": None},
                {"name": "either", "type": ["null", *_BRANCHES], "default": None},
            ],
        }
    ),
)


def offered(verb: str, type_: type = Order, key: str = "id", system: str = "erp") -> Offered:
    schema = schema_of(type_)
    return Offered(
        *(system, f"{verb}_{type_.__name__.lower()}", "shop", "shop.erp.inbox", "shop.erp.calls"),
        policy=OperationPolicy(verb, type_.__name__.lower(), key),
        schema=schema,
        reader=PlainReader(schema.parsed),
        encode=lambda value: b"",
        described="It does it.\n\nAnd more of it.",
    )


ALL = [
    offered(verb, type_, key)
    for verb in VERBS
    for type_, key in ((Order, "id"), (Rich, "id"), (Node, ""))
]
EVENTS = EventTopics(
    [
        EventTopic(name, "id", schema_of(Order), PlainReader(schema_of(Order).parsed), bytes)
        for name in ("a.received", "b.received")
    ]
)
CLIENT = Client("crm", (), publish=("a.*",))


def open_document() -> dict[str, Any]:
    """As it is served."""
    found = openapi(ALL, Aliases(ALL), "1")
    found["paths"] |= EVENTS.paths(CLIENT)
    found["components"]["schemas"] |= EVENTS.schemas(CLIENT)
    return dict(orjson.loads(orjson.dumps(found)))


def test_the_open_api_document_is_valid() -> None:
    errors = list(OpenAPIV31SpecValidator(open_document()).iter_errors())
    assert errors == []


def test_each_operation_has_an_id_of_its_own_and_says_what_may_go_wrong() -> None:
    found = [one for at in open_document()["paths"].values() for one in at.values()]
    ids = [one["operationId"] for one in found if "operationId" in one]
    assert len(set(ids)) == len(ids) >= len(ALL)
    assert all("default" in one["responses"] for one in found)


def async_document(only: str = "") -> dict[str, Any]:
    mine = [one for one in ALL if only in one.name]
    found = asyncapi(mine, EVENTS.paths(CLIENT), "1")
    found["components"]["schemas"] |= EVENTS.schemas(CLIENT)
    return dict(orjson.loads(orjson.dumps(found)))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(ref := value.get("$ref"), str):
            yield ref
        for inner in value.values():
            yield from references(inner)
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_of_the_async_document_leads_somewhere() -> None:
    document = async_document()
    found = set(references(document))
    assert "#/channels/call" in found
    for ref in found:
        at: Any = document
        for part in ref.removeprefix("#/").split("/"):
            at = at[part]
        assert at


def test_commands_are_answered_where_location_says_and_queries_are_not_there() -> None:
    document = async_document()
    assert document["asyncapi"] == "3.0.0"
    ship = document["operations"]["erp.ship_order"]
    assert (ship["action"], ship["summary"]) == ("receive", "It does it.")
    assert ship["reply"]["address"]["location"] == "$message.header#/Location"
    assert document["channels"]["call"]["address"] is None
    request = document["channels"]["erp.ship_order"]["messages"]["request"]
    assert "Idempotency-Key" in request["headers"]["required"]
    put = document["channels"]["erp.replace_order"]["messages"]["request"]
    assert put["headers"]["required"] == ["Prefer"]
    assert not [name for name in document["operations"] if "get_" in name or "list_" in name]


def test_only_what_the_caller_may_send_is_there() -> None:
    document = async_document(only="ship_order")
    assert {*document["operations"]} == {"erp.ship_order", "publish.a.received"}
    assert {*document["channels"]} == {"erp.ship_order", "call", "publish.a.received"}
    assert {*document["components"]["schemas"]} == {"Call", schema_of(Order).name}
