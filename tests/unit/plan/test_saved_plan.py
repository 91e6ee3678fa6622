"""A plan that was saved: applied exactly or not at all, to its end wherever it was killed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plan_kit import Killed, MemoryCluster, applied, flow_of, leftovers, made, of_topics, planned
from trunkline import ConfigurationError, Flow
from trunkline.params import Backbone
from trunkline.streams.plan.resources import Plan, Resource
from trunkline.streams.plan.saved import from_json, to_json

INBOX = Resource("topic", "orders.erp.inbox")
TIER = Resource("topic", "orders.erp.retry.10s")
SUBJECT = Resource("subject", "commerce.orders-value")


def reread(plan: Plan) -> Plan:
    return from_json(json.dumps(to_json(plan)), "p.json")


def test_a_saved_plan_is_the_plan() -> None:
    plan = planned(leftovers(), flow_of(destinations={"erp": ("10s", "2h")}), prune=True)
    assert reread(plan) == plan


def test_a_plan_for_another_cluster_is_not_applied() -> None:
    with pytest.raises(ConfigurationError, match="made for cluster other, and this is memory"):
        applied(MemoryCluster(), replace(planned(MemoryCluster()), cluster="other"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({INBOX: None}, "topic orders.erp.inbox: it is not there any more"),
        ({INBOX: {"retention.ms": "7"}}, ""),
        ({TIER: {"retention.ms": "7"}}, "topic orders.erp.retry.10s: retention.ms is 7"),
        ({SUBJECT: {"schema": "other"}}, "subject commerce.orders-value: schema is other"),
    ],
)
def test_a_cluster_that_has_changed_gets_nothing(
    change: dict[Resource, dict[str, str] | None], said: str
) -> None:
    cluster = made()
    plan = reread(planned(cluster, flow_of(destinations={"erp": ("10s", "1h", "2h")})))
    for resource, state in change.items():
        if state is None:
            del cluster.there[resource]
        else:
            cluster.there[resource] |= state
            cluster.versions.pop(resource.name, None)
    if not said:
        assert [one.resource.name for one in applied(cluster, plan)] == ["orders.erp.retry.2h"]
        return
    with pytest.raises(ConfigurationError, match=said):
        applied(cluster, plan)
    assert Resource("topic", "orders.erp.retry.2h") not in cluster.there


def test_an_event_that_came_after_the_plan_stops_a_removal() -> None:
    cluster = leftovers()
    plan = reread(planned(cluster, prune=True))
    cluster.held["orders.crm.inbox"] = "1 event that waits"
    with pytest.raises(ConfigurationError, match=r"orders.crm.inbox: holds is something"):
        applied(cluster, plan)


def test_events_that_went_after_the_plan_are_no_other_cluster() -> None:
    """An inbox is empty now and then: what was forced while it was not would hardly be applied."""
    cluster, more = made(), of_topics(orders__erp__inbox={"partitions": 6})
    cluster.held["orders.erp.inbox"] = "1 event that waits"
    name = "partitions:orders.erp.inbox"
    plan = reread(planned(cluster, backbone=more, force=[name]))
    cluster.held.clear()
    applied(cluster, plan)
    assert cluster.there[INBOX]["partitions"] == "6"


def test_a_file_that_is_no_plan() -> None:
    for text in ("", "[]", "{}", '{"plan": 1}', '{"plan": 1, "seen": 3}'):
        with pytest.raises(ConfigurationError, match=r"p\.json is no plan"):
            from_json(text, "p.json")
    whole = to_json(planned(MemoryCluster()))
    for wrong in ({"kind": "user"}, {"action": "rename"}, {"becomes": "partitions"}):
        first, *rest = whole["differences"]
        text = json.dumps({**whole, "differences": [{**first, **wrong}, *rest]})
        with pytest.raises(ConfigurationError, match=r"p\.json is no plan"):
            from_json(text, "p.json")
    with pytest.raises(ConfigurationError, match=r"p\.json is no plan"):
        from_json("[" * 100_000, "p.json")
    with pytest.raises(ConfigurationError, match="trunkline 9 made this plan"):
        from_json('{"plan": 99, "made_by": "trunkline 9"}', "p.json")


# Anything may be there, and the process may end anywhere

NAMES = ["erp", "crm", "mart"]
DELAYS = st.lists(st.sampled_from(["1s", "10s", "1h"]), min_size=1, unique=True).map(
    lambda delays: tuple(sorted(delays, key=["1s", "10s", "1h"].index))
)
FLOWS = st.builds(
    flow_of,
    destinations=st.dictionaries(st.sampled_from(NAMES), DELAYS, min_size=1),
    source=st.booleans(),
    table=st.booleans(),
)
BACKBONES = st.builds(
    lambda partitions, retention: of_topics(
        **{"orders.*.inbox": {"partitions": partitions, "retention.ms": retention}}
    ),
    st.integers(1, 5),
    st.sampled_from([-1, 1000, 3_600_000]),
)


@settings(max_examples=150, deadline=None)
@given(before=FLOWS, after=FLOWS, backbones=st.tuples(BACKBONES, BACKBONES), data=st.data())
def test_after_apply_nothing_is_to_be_done_wherever_it_was_killed(
    before: Flow[Any], after: Flow[Any], backbones: tuple[Backbone, Backbone], data: st.DataObject
) -> None:
    cluster = MemoryCluster()
    first = planned(cluster, before, backbone=backbones[0])
    applied(cluster, planned(cluster, before, backbone=backbones[0], force=list(first.refusals)))
    for topic in cluster.names("topic"):
        if data.draw(st.booleans()):
            cluster.held[topic] = "1 event that waits"
        if data.draw(st.integers(0, 5)) == 0:
            cluster.there[Resource("topic", topic)]["retention.ms"] = "5"
    refusals = planned(cluster, after, backbone=backbones[1], prune=True).refusals
    plan = planned(cluster, after, backbone=backbones[1], prune=True, force=list(refusals))
    saved = reread(plan)
    cluster.kill_after = data.draw(st.integers(0, len(plan.differences)))
    try:
        applied(cluster, saved)
    except Killed:
        cluster.kill_after = None
        applied(cluster, saved)
    assert applied(cluster, saved) == []
    again = planned(cluster, after, backbone=backbones[1], prune=True)
    assert (again.differences, again.leftovers) == ((), {})
