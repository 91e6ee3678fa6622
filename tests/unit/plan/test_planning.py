"""Plans: what differs, what is refused, and what is left over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plan_kit import BACKBONE, MemoryCluster, applied, flow_of, leftovers, made, of_topics, planned
from trunkline import ConfigurationError, Flow, Params, Record
from trunkline.admin.planning import compare_needs
from trunkline.admin.removal import removal_of
from trunkline.connectors.base import Source
from trunkline.schemas.commerce import PickList
from trunkline.streams.plan.differences import compared
from trunkline.streams.plan.needs import needs_of
from trunkline.streams.plan.resources import Difference, Plan, Resource

INBOX = Resource("topic", "orders.erp.inbox")
TIER = Resource("topic", "orders.erp.retry.10s")
CANONICAL = Resource("topic", "commerce.orders")
SUBJECT = Resource("subject", "commerce.orders-value")


def only(plan: Plan) -> Difference:
    (one,) = plan.differences
    return one


# What differs


def test_an_empty_cluster_lacks_everything() -> None:
    plan = planned(MemoryCluster())
    assert {one.action for one in plan.differences} == {"create"}
    assert {str(one.resource) for one in plan.differences} == {
        "subject commerce.orders-value",
        "subject orders.erp.inbox-value",
        "topic commerce.orders",
        "topic orders.audit",
        "topic orders.control",
        "topic orders.erp.dlq",
        "topic orders.erp.inbox",
        "topic orders.erp.retry.10s",
        "topic orders.erp.retry.1h",
        "topic orders.shop.dlq",
        "topic orders.shop.positions",
        "topic trunkline.publishers",
    }
    assert plan.refusals == {}


def test_what_is_as_it_must_be_is_no_difference() -> None:
    plan = planned(made())
    assert (plan.differences, plan.leftovers, plan.notes) == ((), {}, ())


def test_a_setting_that_somebody_changed_is_put_back_and_one_that_nobody_wants_is_left() -> None:
    cluster = made()
    cluster.there[TIER] |= {"retention.ms": "604800000", "segment.ms": "1"}
    one = only(planned(cluster))
    assert (one.was, one.becomes) == ({"retention.ms": "604800000"}, {"retention.ms": "-1"})
    applied(cluster, planned(cluster))
    assert cluster.there[TIER]["segment.ms"] == "1"


@pytest.mark.parametrize(("size", "differs"), [("20000000", False), ("1048588", True)])
def test_a_topic_may_take_larger_records_than_we_need(size: str, differs: bool) -> None:
    cluster = made()
    cluster.there[INBOX]["max.message.bytes"] = size
    assert bool(planned(cluster).differences) is differs


def test_settings_that_may_not_be_seen_are_no_difference() -> None:
    cluster = made()
    cluster.there[TIER] = {"partitions": "4", "replication": "1"}
    assert planned(cluster).differences == ()


def test_an_environment_says_what_a_topic_has() -> None:
    backbone = of_topics(
        **{"orders.*": {"retention.ms": 7200000}, "orders.erp.inbox": {"partitions": 9}}
    )
    cluster = made(backbone=backbone)
    assert cluster.there[INBOX]["retention.ms"] == "7200000"
    assert {cluster.there[one]["partitions"] for one in (INBOX, TIER)} == {"9"}
    assert cluster.there[CANONICAL]["partitions"] == "4"


def test_replicas_are_for_a_tool_of_kafkas() -> None:
    cluster = made()
    plan = planned(cluster, backbone=BACKBONE.model_copy(update={"replication": 3}))
    assert plan.differences == (), "with one replica no writer could satisfy two"
    assert "topic orders.erp.inbox has 1 replicas, and 3 are wanted" in " ".join(plan.notes)


def test_a_topic_that_others_publish_is_made_but_not_changed() -> None:
    flow = flow_of(source=False, table=True)
    assert Resource("topic", "commerce.orders") in made(flow).there
    cluster = made(flow)
    cluster.there[CANONICAL] |= {"cleanup.policy": "delete", "max.message.bytes": "1"}
    plan = planned(cluster, flow)
    assert plan.differences == ()
    assert "published elsewhere and is not compacted" in plan.notes[0]


def test_flows_that_are_planned_together_are_one_need() -> None:
    reads = flow_of("orders", source=False, table=True)
    reads.name = "stock"
    cluster = made(flow_of(), reads)
    assert cluster.there[CANONICAL]["cleanup.policy"] == "compact"


def test_one_topic_with_two_types_is_no_need_of_both() -> None:
    """The one that is planned last would win, and the other flow's workers not start."""
    other = Flow("stock", Params)

    @other.source
    def warehouse(env: Params) -> Source:
        raise AssertionError("no builder runs")

    @other.topic("commerce.orders", source=warehouse)
    def orders(row: Record) -> PickList:
        raise AssertionError("no function runs")

    with pytest.raises(
        ConfigurationError, match=r"stock writes the subject commerce\.orders-value"
    ):
        planned(MemoryCluster(), flow_of(), other)


def test_two_files_with_a_flow_of_one_name_are_told() -> None:
    """With --prune the groups of the first would be gone, and all of its inboxes sent again."""
    one, other = flow_of(), flow_of(destinations={"crm": ("5s",)})
    planned(MemoryCluster(), one, one)
    other.place = replace(other.place, file="copy.py")
    with pytest.raises(ConfigurationError, match=r"copy\.py have flows of one name, 'orders'"):
        planned(MemoryCluster(), one, other)


# What is refused


@pytest.mark.parametrize("where", [INBOX, TIER])
def test_more_partitions_of_a_topic_with_events_are_refused(where: Resource) -> None:
    cluster = made()
    cluster.held[where.name] = "3 events that wait"
    more = of_topics(orders__erp__inbox={"partitions": 6})
    plan = planned(cluster, backbone=more)
    assert list(plan.refusals) == ["partitions:orders.erp.inbox"]
    assert "it holds 3 events that wait" in plan.refusals["partitions:orders.erp.inbox"]
    before = {resource: dict(state) for resource, state in cluster.there.items()}
    with pytest.raises(ConfigurationError, match=r"--force partitions:orders\.erp\.inbox"):
        applied(cluster, plan)
    assert cluster.there == before
    applied(cluster, planned(cluster, backbone=more, force=list(plan.refusals)))
    assert {cluster.there[one]["partitions"] for one in (INBOX, TIER)} == {"6"}


def test_more_partitions_of_an_empty_topic_are_not() -> None:
    cluster = made()
    plan = planned(cluster, backbone=of_topics(commerce__orders={"partitions": 6}))
    assert only(plan).becomes == {"partitions": "6"}
    assert plan.refusals == {}


def test_a_tier_follows_an_inbox_that_somebody_widened() -> None:
    cluster = made()
    cluster.there[INBOX]["partitions"] = "6"
    cluster.held[INBOX.name] = "3 events that wait"
    plan = planned(cluster)
    assert {one.resource.name for one in plan.differences} == {
        "orders.erp.dlq",
        "orders.erp.retry.10s",
        "orders.erp.retry.1h",
    }
    assert plan.refusals == {}


def test_fewer_partitions_than_a_topic_has_are_no_difference() -> None:
    assert planned(made(), backbone=BACKBONE.model_copy(update={"partitions": 2})).differences == ()


@pytest.mark.parametrize(("retention", "refused"), [(3_600_000, False), (3_599_999, True)])
def test_a_retention_shorter_than_the_longest_retry_is_refused(
    retention: int, refused: bool
) -> None:
    backbone = of_topics(orders__erp__inbox={"retention.ms": retention})
    for cluster in (MemoryCluster(), made()):
        refusals = planned(cluster, backbone=backbone).refusals
        assert list(refusals) == (["retention.ms:orders.erp.inbox"] if refused else [])


def test_compaction_of_a_topic_with_events_is_refused() -> None:
    cluster = made()
    cluster.held[CANONICAL.name] = "up to 9 records"
    cluster.there[CANONICAL]["cleanup.policy"] = "delete"
    plan = planned(cluster, flow_of(table=True))
    assert list(plan.refusals) == ["cleanup.policy:commerce.orders"]
    cluster.held.clear()
    assert planned(cluster, flow_of(table=True)).refusals == {}


def test_an_incompatible_schema_is_refused_with_the_registrys_reasons() -> None:
    cluster = made()
    cluster.versions[SUBJECT.name] = ['{"name":"Old"}']
    cluster.there[SUBJECT]["schema"] = '{"name":"Old"}'
    assert only(planned(cluster)).refused == {}, "a compatible one is registered"
    cluster.against[SUBJECT.name] = ["READER_FIELD_MISSING_DEFAULT_VALUE: note"]
    plan = planned(cluster)
    (why,) = plan.refusals.values()
    assert "READER_FIELD_MISSING_DEFAULT_VALUE: note" in why
    forced = planned(cluster, force=["schema:commerce.orders-value"])
    applied(cluster, forced)
    assert planned(cluster).differences == ()


def test_a_schema_that_a_newer_version_followed_is_there() -> None:
    cluster = made()
    cluster.versions[SUBJECT.name].append("newer")
    cluster.there[SUBJECT]["schema"] = "newer"
    assert planned(cluster).differences == ()


def test_what_is_forced_must_be_refused() -> None:
    with pytest.raises(ConfigurationError, match="--force partitions:x: nothing is refused"):
        planned(MemoryCluster(), force=["partitions:x"])


def test_only_what_is_at_risk_is_counted() -> None:
    cluster = made()
    planned(cluster)
    cluster.there[TIER]["retention.ms"] = "1"
    planned(cluster)
    assert cluster.asked == []


# What is left over


GONE = [
    "topic orders.crm.dlq",
    "topic orders.crm.inbox",
    "topic orders.crm.retry.5s",
    "subject orders.crm.inbox-value",
    "group orders.crm",
]


def test_what_a_flow_no_longer_has_is_named_and_left() -> None:
    cluster = leftovers()
    cluster.held["orders.crm.inbox"] = "3 events that wait"
    plan = planned(cluster)
    assert plan.differences == ()
    assert [str(one) for one in plan.leftovers] == GONE
    assert plan.leftovers[Resource("topic", "orders.crm.inbox")] == "3 events that wait"


def test_it_is_removed_on_demand_topics_first() -> None:
    cluster = leftovers()
    done = applied(cluster, planned(cluster, prune=True))
    assert [one.resource.kind for one in done] == ["topic"] * 3 + ["group", "subject"]
    plan = planned(cluster, prune=True)
    assert (plan.differences, plan.leftovers) == ((), {})
    assert Resource("topic", "orders.eu.erp.inbox") in cluster.there
    assert Resource("group", "orders.report") in cluster.there, "a stranger's"


def test_what_still_holds_events_is_not_removed_unless_forced() -> None:
    cluster = leftovers()
    cluster.held["orders.crm.inbox"] = "3 events that wait"
    plan = planned(cluster, prune=True)
    assert plan.refusals == {"events:orders.crm.inbox": "it still holds 3 events that wait"}
    applied(cluster, planned(cluster, prune=True, force=["events:orders.crm.inbox"]))


def test_a_group_that_somebody_is_in_is_not_removed() -> None:
    cluster = leftovers()
    cluster.there[Resource("group", "orders.crm")]["members"] = "2"
    assert list(planned(cluster, prune=True).refusals) == ["members:orders.crm"]


# Two clusters, and the end of a flow


def test_two_clusters_are_compared() -> None:
    one, other = made().there, made().there
    assert compared(one, other) == []
    other[INBOX]["retention.ms"] = "5"
    del other[TIER]
    other[Resource("topic", "x")] = {"partitions": "1"}
    assert [(d.action, d.resource.name, d.becomes) for d in compared(one, other)] == [
        ("alter", "orders.erp.inbox", {"retention.ms": "5"}),
        ("delete", "orders.erp.retry.10s", {}),
        ("create", "x", {"partitions": "1"}),
    ]


def test_what_one_environment_alone_says_is_compared() -> None:
    staging, prod = BACKBONE, of_topics(orders__erp__inbox={"retention.ms": 86400000})
    found = compare_needs(
        *(needs_of([flow_of()], staging), made(backbone=staging)),
        *(needs_of([flow_of()], prod), made(backbone=prod)),
    )
    assert [(d.action, d.resource, d.was, d.becomes) for d in found] == [
        ("alter", INBOX, {"retention.ms": "604800000"}, {"retention.ms": "86400000"})
    ]


def test_a_flows_end_takes_all_that_is_its_own() -> None:
    cluster = leftovers()
    cluster.held["orders.crm.inbox"] = "3 events that wait"
    removal = removal_of(cluster, "orders")
    assert removal.sources == ("shop",)
    assert removal.holds[Resource("topic", "orders.crm.inbox")] == "3 events that wait"
    list(cluster.mend(removal.differences))
    left = {one for one in cluster.there if not one.name.startswith("orders.eu.")}
    assert {str(one) for one in left} == {
        "group orders.report",
        "subject commerce.orders-value",
        "subject commerce.orders.eu-value",
        "topic commerce.orders",
        "topic commerce.orders.eu",
        "topic trunkline.publishers",
    }
    assert Resource("topic", "orders.eu.control") in cluster.there
    assert removal_of(cluster, "orders").differences == ()


def test_a_flow_that_runs_is_not_taken_away() -> None:
    cluster = leftovers()
    cluster.there[Resource("group", "orders.erp")]["members"] = "1"
    with pytest.raises(ConfigurationError, match=r"workers of 'orders' run \(in orders.erp\)"):
        removal_of(cluster, "orders")
