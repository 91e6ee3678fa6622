"""Names of topics and groups: composed as documented, and taken apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import naming

FLOWS = st.from_regex(r"[a-z][a-z0-9_]*(\.(retry|inbox|dlq|1x|[a-z]+))*", fullmatch=True)
PARTS = st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True)
DELAYS = st.sampled_from(["250ms", "10s", "1.5s", "1m", "2h", "1d"])


def test_names_are_as_documented() -> None:
    assert naming.inbox("orders", "erp") == "orders.erp.inbox"
    assert naming.tier("orders", "erp", "10s") == "orders.erp.retry.10s"
    assert naming.dlq("orders", "erp") == "orders.erp.dlq"
    assert naming.positions("orders", "shop") == "orders.shop.positions"
    assert naming.control("orders") == "orders.control"
    assert naming.audit("orders") == "orders.audit"
    assert naming.route_group("orders") == "orders.route"
    assert naming.delivery_group("orders", "erp") == "orders.erp"
    assert naming.sources_group("orders") == "orders.sources"
    assert naming.source_transactional_id("orders", "shop") == "trunkline.orders.shop"


@given(FLOWS, PARTS, DELAYS)
def test_a_retry_topic_is_taken_apart(flow: str, destination: str, delay: str) -> None:
    inbox, tier = naming.inbox(flow, destination), naming.tier(flow, destination, delay)
    assert naming.inbox_of(tier) == naming.inbox_of(inbox) == inbox
    assert naming.delay_of(tier) == delay
    assert naming.delay_of(inbox) == ""
    assert naming.is_tier_of(tier, flow, destination)
    assert not naming.is_tier_of(inbox, flow, destination)
    assert not naming.is_tier_of(tier, flow, f"{destination}2")


@given(FLOWS, PARTS)
def test_a_destination_is_known_by_its_topics(flow: str, destination: str) -> None:
    name = naming.qualified(flow, destination)
    assert naming.destination_of(naming.inbox(flow, destination)) == name
    assert naming.part_of_dlq(naming.dlq(flow, destination)) == destination


@pytest.mark.parametrize(
    "topic", ["", "orders", "shop.orders", "orders.control", "orders.erp.dlq", "orders.retry.log"]
)
def test_other_topics_are_no_destinations(topic: str) -> None:
    assert naming.inbox_of(topic) == topic
    assert naming.delay_of(topic) == naming.destination_of(topic) == ""
    assert not naming.is_inbox(topic)


def test_only_a_dead_letter_topic_names_its_destination() -> None:
    assert naming.part_of_dlq("orders.erp.inbox") == ""
