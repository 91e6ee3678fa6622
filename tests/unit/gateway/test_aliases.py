"""Where operations are by their resources, and what a URL says of a request."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from trunkline.access.policy import Client
from trunkline.connectors.base import HttpRequest
from trunkline.errors import Rejected
from trunkline.gateway.aliases import Aliases, from_url, place_of
from trunkline.gateway.catalog import Offered
from trunkline.gateway.openapi import openapi
from trunkline.gateway.preview import preview
from trunkline.gateway.problems import Problem
from trunkline.schemas.commerce import Order
from trunkline.schemas.plain.read import PlainReader
from trunkline.schemas.types import AvroSchema, schema_of
from trunkline.streams.flow.operation import OperationPolicy


def offered(verb: str, key: str = "id", name: str = "", **more: Any) -> Offered:
    schema = more.pop("schema", schema_of(Order))
    return Offered(
        *("erp", name or verb, "shop", "shop.erp.inbox", "shop.erp.calls"),
        policy=OperationPolicy(verb, "orders", key),
        schema=schema,
        reader=PlainReader(schema.parsed),
        encode=lambda value: b"",
        described="It.",
        **more,
    )


@pytest.mark.parametrize(
    ("verb", "key", "method", "path"),
    [
        ("create", "id", "POST", "/orders"),
        ("create", "", "POST", "/orders"),
        ("list", "", "GET", "/orders"),
        ("get", "id", "GET", "/orders/{id}"),
        ("get", "", "POST", "/orders:get"),
        ("replace", "id", "PUT", "/orders/{id}"),
        ("update", "id", "PATCH", "/orders/{id}"),
        ("delete", "id", "DELETE", "/orders/{id}"),
        ("ship", "id", "POST", "/orders/{id}:ship"),
        ("close", "", "POST", "/orders:close"),
        ("search", "id", "POST", "/orders:search"),
    ],
)
def test_each_verb_has_its_place(verb: str, key: str, method: str, path: str) -> None:
    one = offered(verb, key)
    place, aliases = place_of(one), Aliases([one])
    assert (place.method, place.path) == (method, f"/v1/systems/erp{path}")
    given = "a/b:c" if "{id}" in path else ""
    if method == "POST" and given:
        given = "a/b"
    asked = path.replace("{id}", given).removeprefix("/")
    assert aliases.find(method, "erp", asked) == (one, given)


def test_a_place_of_two_operations_is_nobodys() -> None:
    first, second = offered("update", name="a"), offered("update", name="b")
    aliases = Aliases([first, second])
    assert aliases.of(first) is aliases.of(second) is None
    with pytest.raises(Problem):
        aliases.find("PATCH", "erp", "orders/1")


@pytest.mark.parametrize(
    "rest", ["orders", "orders/", "orders/1:ship", "invoices/1", "orders:x", ""]
)
def test_elsewhere_is_nothing(rest: str) -> None:
    with pytest.raises(Problem) as raised:
        Aliases([offered("update")]).find("POST", "erp", rest)
    assert raised.value.status == 404


WIDE = {
    "type": "record",
    "name": "Wide",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "size", "type": ["null", "int"], "default": None},
        {"name": "far", "type": "long", "default": 0},
        {"name": "open", "type": "boolean", "default": True},
        {"name": "ratio", "type": "double", "default": 0},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
    ],
}


def test_a_url_says_values_of_the_fields_types() -> None:
    schema = AvroSchema("Wide", "{}", WIDE)
    query = [("size", "7"), ("far", "12"), ("open", "false"), ("tags", "a"), ("more", "x")]
    said = from_url(offered("get", schema=schema), "5", query)
    assert said == {
        "id": 5,
        "size": 7,
        "far": "12",
        "open": False,
        "tags": ["a"],
        "more": "x",
    }
    assert from_url(offered("list", schema=schema), "", [("tags", "a"), ("tags", "b")]) == {
        "tags": ["a", "b"]
    }
    assert from_url(offered("list", schema=schema), "", [("size", "x")]) == {"size": "x"}


def test_a_number_of_a_url_is_exact_and_taken() -> None:
    schema = AvroSchema("Wide", "{}", WIDE)
    said = from_url(offered("list", schema=schema), "", [("ratio", "1.10")])
    assert said == {"ratio": Decimal("1.10")}
    assert PlainReader(WIDE).read({"id": 5, **said})[1] == []


def test_a_url_with_another_method_says_which_it_has() -> None:
    aliases = Aliases([offered("get"), offered("update"), offered("list", "")])
    for method, rest, allowed in [("DELETE", "orders/5", "GET, PATCH"), ("PUT", "orders", "GET")]:
        with pytest.raises(Problem) as refused:
            aliases.find(method, "erp", rest)
        assert (refused.value.kind, refused.value.headers) == (
            "method-not-allowed",
            {"Allow": allowed},
        )


def test_the_document_has_both_urls() -> None:
    one, two = offered("update"), offered("get")
    paths = openapi([one, two], Aliases([one, two]), "1")["paths"]
    assert set(paths["/v1/systems/erp/orders/{id}"]) == {"patch", "get"}
    asked = paths["/v1/systems/erp/orders/{id}"]["get"]
    assert [p["name"] for p in asked["parameters"]][:3] == ["id", "status", "total_cents"]
    assert "requestBody" not in asked
    assert "202" not in asked["responses"]


def test_a_preview_masks_what_is_secret_and_makes_no_call() -> None:
    def render(call: Any) -> HttpRequest:
        return HttpRequest("POST", "/x", json=call.data, headers={"X-Api-Key": "abc", "X-A": "b"})

    shown = preview(offered("ship", render=render), Client("crm", ()), {"id": "o-7"})
    assert (shown["method"], shown["path"]) == ("POST", "/x")
    assert shown["headers"] == {"X-Api-Key": "***", "X-A": "b"}


@pytest.mark.parametrize(
    ("error", "kind"), [(Rejected("no"), "not-acceptable"), (KeyError("x"), "system-failed")]
)
def test_a_preview_tells_what_the_function_raises(error: Exception, kind: str) -> None:
    def render(call: Any) -> HttpRequest:
        raise error

    with pytest.raises(Problem) as raised:
        preview(offered("ship", render=render), Client("crm", ()), {"id": "o-7"})
    assert raised.value.kind == kind
