"""The rights that a flow's steps and its operators need, and how they are written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from delivery_kit import flow_of
from trunkline import Call, Flow, HttpRequest
from trunkline.cli import app
from trunkline.kafka.rights import Right
from trunkline.schemas.commerce import Order
from trunkline.streams.plan.acls import (
    ROLES,
    WORKER_ROLES,
    as_commands,
    as_kafka_user,
    rights,
)
from trunkline.streams.plan.topics import required_topics

FLOW_FILE = Path(__file__).parents[2] / "integration" / "kafka" / "locked_flow.py"


def of(flow: Flow[Any], *roles: str, create: bool = False) -> dict[str, tuple[str, ...]]:
    return {right.name: right.operations for right in rights(flow, roles, create=create)}


def test_a_source_may_write_what_it_publishes_and_keep_its_position() -> None:
    found = of(flow_of(), "source")
    assert found["orders"] == ("Write", "Describe")
    assert found["sales.shop.positions"] == ("Read", "Write", "Describe")
    assert found["sales.sources"] == ("Read",)
    assert found["trunkline.sales.shop"] == ("Write", "Describe")
    assert found["sales.erp.inbox"] == ("Describe",)


def test_routing_may_read_what_it_routes_and_write_inboxes() -> None:
    found = of(flow_of(), "route")
    assert found["orders"] == ("Read", "Describe")
    assert found["sales.erp.inbox"] == ("Write", "Describe")
    assert found["sales.erp.dlq"] == ("Read", "Write", "Describe")
    assert found["sales.route"] == ("Read",)
    assert found["trunkline.sales.route."] == ("Write", "Describe")


def test_delivery_may_delete_what_is_done_with_in_its_retry_topics() -> None:
    found = of(flow_of(), "deliver")
    assert found["sales.erp.inbox"] == ("Read", "Describe")
    assert found["sales.erp.retry.10s"] == ("Read", "Write", "Delete", "Describe")
    assert found["sales.erp"] == ("Read",)
    assert found["trunkline.sales.erp."] == ("Write", "Describe")
    assert "trunkline.sales.route." not in found


@pytest.mark.parametrize("role", WORKER_ROLES)
def test_each_worker_may_see_all_topics_and_create_them_only_where_it_makes_them(role: str) -> None:
    flow = flow_of()
    topics = {spec.name for spec in required_topics(flow, 1)}
    assert all("Describe" in of(flow, role)[topic] for topic in topics)
    assert not any("Create" in operations for operations in of(flow, role).values())
    assert all("Create" in of(flow, role, create=True)[topic] for topic in topics)


def test_who_looks_may_change_nothing() -> None:
    changes = {"Write", "Create", "Delete"}
    assert not any(changes & set(operations) for operations in of(flow_of(), "viewer").values())
    operator = of(flow_of(), "operator")
    assert operator["sales.control"] == ("Read", "Write", "Describe")
    assert operator["trunkline.sales.command"] == ("Write", "Describe")


def test_rights_concern_no_other_flow_whose_name_begins_so() -> None:
    prefixes = {right.name for right in rights(flow_of(), ROLES) if right.prefixed}
    assert prefixes == {
        "trunkline.sales.route.",
        "trunkline.sales.erp.",
        "trunkline.sales.command",
    }


SOME = [
    Right("topic", "sales.control", ("Read", "Write")),
    Right("transactional-id", "trunkline.sales.route.", ("Write",), prefixed=True),
]


def test_commands_are_those_of_kafkas_own_tool() -> None:
    assert as_commands(SOME, "worker", "kafka:9093").splitlines() == [
        "kafka-acls.sh --bootstrap-server kafka:9093 --add --allow-principal User:worker "
        "--operation Read --operation Write --topic sales.control",
        "kafka-acls.sh --bootstrap-server kafka:9093 --add --allow-principal User:worker "
        "--operation Write --transactional-id trunkline.sales.route. "
        "--resource-pattern-type prefixed",
    ]


def test_a_kafka_user_of_strimzi_has_the_same() -> None:
    assert as_kafka_user(SOME, "worker", "main").endswith(
        """\
spec:
  authorization:
    type: simple
    acls:
      - resource:
          type: topic
          name: "sales.control"
          patternType: literal
        operations: [Read, Write]
      - resource:
          type: transactionalId
          name: "trunkline.sales.route."
          patternType: prefix
        operations: [Write]
"""
    )


def told(*options: str) -> str:
    done = CliRunner().invoke(app, ["acls", str(FLOW_FILE), *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_prints_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOW", "orders")
    monkeypatch.setenv("TRUNKLINE_CREATE", "false")
    assert "--operation Read --group orders.erp" in told()
    assert "kind: KafkaUser" in told("--format", "strimzi", "--role", "operator")
    found = json.loads(told("--format", "json", "--role", "route"))
    group = {"resource": "group", "name": "orders.route", "operations": ["Read"]}
    assert {**group, "prefixed": False} in found
    refused = CliRunner().invoke(app, ["acls", str(FLOW_FILE), "--role", "boss"])
    assert "the roles are source, route, deliver, gateway, scaler, viewer, operator" in str(
        refused.exception
    )


def test_a_gateway_may_write_calls_and_follow_how_they_stand_and_nothing_else() -> None:
    flow = flow_of()
    assert of(flow, "gateway") == {}, "it has no operation"

    @flow.operation(to=flow.destinations[0], verb="update", resource="orders")
    def correct(call: Call[Order]) -> HttpRequest:
        return HttpRequest("PATCH")

    found = rights(flow, ["gateway"])
    assert {(right.resource, right.name, right.operations) for right in found} == {
        ("topic", "sales.control", ("Read", "Describe")),
        ("topic", "sales.erp.inbox", ("Write", "Describe")),
        ("topic", "sales.erp.calls", ("Read", "Write", "Describe")),
        ("group", "trunkline.gateway", ("Describe",)),
        ("topic", "trunkline.control", ("Read", "Describe")),
        ("topic", "trunkline.accesses", ("Write", "Describe")),
        ("topic", "trunkline.shares", ("Read", "Write", "Describe")),
        ("group", "trunkline.shares", ("Describe",)),
    }
    assert of(flow, "deliver")["sales.erp.calls"] == ("Read", "Write", "Describe")
