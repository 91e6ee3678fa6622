"""A plan as a person reads it, and names that only look like a flow's."""

from __future__ import annotations

import tomllib

import pytest

from trunkline import naming
from trunkline.cli.plan_output import counts_in_words, plan_in_words
from trunkline.errors import ConfigurationError
from trunkline.params import load_backbone
from trunkline.streams.plan.resources import Difference, Plan, Resource


def record(*fields: str) -> str:
    inner = ", ".join(f'{{"name": "{name}", "type": "string"}}' for name in fields)
    return f'{{"type": "record", "name": "Order", "namespace": "shop", "fields": [{inner}]}}'


PLAN = Plan(
    flows=("orders",),
    environment="prod",
    cluster="c",
    differences=(
        Difference(Resource("topic", "orders.a"), "create", becomes={"partitions": "4"}),
        Difference(
            Resource("topic", "orders.b"),
            "alter",
            {"retention.ms": "5"},
            {"retention.ms": "-1"},
            {"retention.ms:orders.b": "events would go"},
        ),
        Difference(
            Resource("subject", "orders.b-value"),
            "alter",
            {"schema": record("id", "status")},
            {"schema": record("id", "note")},
        ),
        Difference(Resource("group", "orders.c"), "delete", {"members": "0"}),
    ),
    seen={},
    leftovers={
        Resource("topic", "orders.old.inbox"): "3 events that wait",
        Resource("group", "orders.old"): "",
    },
    notes=("topic x has 1 replicas",),
)


def test_every_difference_is_said_with_what_is_refused_and_left() -> None:
    assert plan_in_words(PLAN).splitlines() == [
        "+ topic orders.a  partitions 4",
        "~ topic orders.b",
        "      retention.ms  5 → -1",
        "      refused: events would go  (--force retention.ms:orders.b)",
        "~ subject orders.b-value: shop.Order, + note, - status",
        "- group orders.c",
        "",
        "no flow of these has it any more; --prune removes it:",
        "  topic orders.old.inbox: holds 3 events that wait",
        "  group orders.old",
        "",
        "to be done by hand:",
        "  topic x has 1 replicas",
        "",
        "1 to create, 2 to change, 1 to remove, 1 refused",
    ]


def test_a_plan_without_a_difference_says_so() -> None:
    assert counts_in_words(Plan(("orders",), "", "c", (), {})).startswith("nothing to do")


@pytest.mark.parametrize(
    ("topic", "part"),
    [
        ("orders.erp.inbox", "erp"),
        ("orders.erp.retry.10s", "erp"),
        ("orders.shop.dlq", "shop"),
        ("orders.shop.positions", "shop"),
        ("orders.control", ""),
        ("orders.erp", ""),
        ("orders.eu.erp.inbox", ""),
        ("orders.retry.eu.erp.inbox", ""),
        ("orders2.erp.inbox", ""),
        ("commerce.orders", ""),
    ],
)
def test_a_topic_is_a_part_of_one_flow(topic: str, part: str) -> None:
    assert naming.part_of(topic, "orders") == part


@pytest.mark.parametrize(
    ("group", "part"),
    [("orders.erp", "erp"), ("orders.route", "route"), ("orders.eu.erp", ""), ("orders", "")],
)
def test_a_group_is_named_by_a_part_of_one_flow(group: str, part: str) -> None:
    assert naming.part_of_group(group, "orders") == part


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('retention = "5"', "'retention' of topic 'orders.*' is no setting"),
        ("partitions = 0", "'partitions' of topic 'orders.*' is a number from 1 on"),
        ('"retention.ms" = "7d"', "'retention.ms' of topic 'orders.*' is a whole number"),
        ('"min.insync.replicas" = "two"', "'min.insync.replicas' of topic 'orders.*' is a whole"),
        ("retention.ms = 5", "names with dots stand in quotes"),
        ("partitions = true", "'partitions' of topic 'orders.*' is a number from 1 on"),
        ('replication = "three"', "'replication' of topic 'orders.*' is a number from 1 on"),
    ],
)
def test_what_is_no_setting_of_a_topic_is_refused(setting: str, said: str) -> None:
    file = tomllib.loads(f'[trunkline.topics."orders.*"]\n{setting}\n')
    with pytest.raises(ConfigurationError) as caught:
        load_backbone(file, environ={})
    assert said in str(caught.value)


def test_a_setting_of_a_topic_is_the_text_that_kafka_shows() -> None:
    """Else each plan would find it different: Kafka shows ``true``, and no 1 or True."""
    given = '"unclean.leader.election.enable" = true\n"min.cleanable.dirty.ratio" = 0.1\n'
    file = tomllib.loads(f'[trunkline.topics."orders.*"]\n{given}"retention.ms" = 2.592e+09\n')
    assert load_backbone(file, environ={}).topics["orders.*"] == {
        "unclean.leader.election.enable": "true",
        "min.cleanable.dirty.ratio": "0.1",
        "retention.ms": "2592000000",
    }
