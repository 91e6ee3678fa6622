"""A cluster in memory that refuses what Kafka and the registry refuse, and flows to plan for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trunkline import ConfigurationError, Event, Flow, Params, Record, Retry
from trunkline.admin.planning import carry_out, plan_needs
from trunkline.connectors.base import Sink, Source
from trunkline.params import Backbone
from trunkline.schemas.commerce import Order
from trunkline.streams.plan.needs import needs_of
from trunkline.streams.plan.resources import (
    Difference,
    Plan,
    Resource,
    ResourceKind,
    ResourceStates,
)

BACKBONE = Backbone(bootstrap="127.0.0.1:1", partitions=4)

DEFAULTS = {
    "retention.ms": "604800000",
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "1",
    "segment.bytes": "1073741824",
    "min.cleanable.dirty.ratio": "0.5",
}
"""What Kafka tells of a topic that was made without a word."""


class Killed(BaseException):
    """The process ends here."""


class MemoryCluster:
    """Topics, subjects and groups as attributes. ``held``: what is in topics, in words;
    ``against``: by subject, why no other schema suits it; ``reads``: by group, topics;
    ``kill_after``: how many changes are made until the process ends, and the next is not."""

    def __init__(self, there: Mapping[Resource, Mapping[str, str]] | None = None) -> None:
        self.id = "memory"
        self.there = {resource: dict(state) for resource, state in (there or {}).items()}
        self.versions: dict[str, list[str]] = {}
        self.held: dict[str, str] = {}
        self.against: dict[str, list[str]] = {}
        self.reads: dict[str, set[str]] = {}
        self.asked: list[str] = []
        self.kill_after: int | None = None

    def names(self, kind: ResourceKind) -> list[str]:
        return [one.name for one in self.there if one.kind == kind]

    def look(self, resources: Iterable[Resource], schemas: Mapping[str, str]) -> ResourceStates:
        found = {one: dict(self.there[one]) for one in resources if one in self.there}
        for (kind, name), state in found.items():
            if kind == "subject" and schemas.get(name) in self.versions.get(name, []):
                state["schema"] = schemas[name]
        return found

    def read_by(self, group: str) -> set[str]:
        return self.reads.get(group, set())

    def holds(self, topic: str) -> str:
        self.asked.append(topic)
        return self.held.get(topic, "")

    def speaks_against(self, subject: str, schema: str) -> Sequence[str]:
        return self.against.get(subject, [])

    def mend(self, differences: Sequence[Difference]) -> Iterator[Difference]:
        for one in differences:
            if self.kill_after == 0:
                raise Killed
            self.kill_after = None if self.kill_after is None else self.kill_after - 1
            self._mend(one)
            yield one

    def _mend(self, one: Difference) -> None:
        if one.action == "delete":
            assert self.there[one.resource].get("members", "0") == "0", "Kafka refuses"
            del self.there[one.resource]
            self.versions.pop(one.resource.name, None)
            return
        state = self.there.setdefault(one.resource, {})
        assert (one.action == "create") == (not state), "what is there cannot be created"
        if one.action == "alter" and "partitions" in one.becomes:
            assert int(one.becomes["partitions"]) > int(state["partitions"]), "Kafka refuses fewer"
        assert one.action == "create" or "replication" not in one.becomes, "no request does that"
        if one.action == "create" and one.resource.kind == "topic":
            state.update(DEFAULTS)
        state.update(one.becomes)
        if one.resource.kind == "subject":
            name, schema = one.resource.name, one.becomes["schema"]
            if self.against.get(name) and not one.note:
                raise ConfigurationError("409")
            self.versions.setdefault(name, []).append(schema)


def flow_of(
    name: str = "orders",
    *,
    destinations: Mapping[str, tuple[str, ...]] | None = None,
    source: bool = True,
    table: bool = False,
) -> Flow[Any]:
    """A flow with these destinations, each with its delays of retry."""
    flow = Flow(name, Params)
    if source:

        @flow.source
        def shop(env: Params) -> Source:
            raise AssertionError("no builder runs")

        @flow.topic(f"commerce.{name}", source=shop)
        def orders(row: Record) -> Order:
            raise AssertionError("no function runs")

        topic = orders
    else:
        topic = flow.existing_topic(f"commerce.{name}", Order)
    if table:
        flow.table(topic)
    for one, delays in (destinations or {"erp": ("10s", "1h")}).items():
        _destination(flow, topic, one, delays)
    return flow


def _destination(flow: Flow[Any], topic: Any, name: str, delays: tuple[str, ...]) -> None:
    def build(env: Params) -> Sink[Order]:
        raise AssertionError("no builder runs")

    build.__name__ = name
    destination = flow.destination(retry=Retry(*delays))(build)

    def route(event: Event[Order]) -> Order:
        raise AssertionError("no function runs")

    route.__name__ = f"to_{name}"
    flow.route(topic, to=destination)(route)


def planned(
    cluster: MemoryCluster,
    *flows: Flow[Any],
    backbone: Backbone = BACKBONE,
    prune: bool = False,
    force: Sequence[str] = (),
) -> Plan:
    needs = needs_of(flows or [flow_of()], backbone)
    return plan_needs(cluster, needs, prune=prune, force=force)


def applied(cluster: MemoryCluster, plan: Plan) -> list[Difference]:
    return list(carry_out(cluster, plan))


def made(*flows: Flow[Any], backbone: Backbone = BACKBONE) -> MemoryCluster:
    """A cluster that has what the flows need."""
    cluster = MemoryCluster()
    applied(cluster, planned(cluster, *flows, backbone=backbone))
    return cluster


def of_topics(**topics: dict[str, str | int]) -> Backbone:
    names = {name.replace("__", "."): said for name, said in topics.items()}
    return BACKBONE.model_copy(update={"topics": names})


def leftovers() -> MemoryCluster:
    """A cluster of the flow as it was with a destination crm, and of another flow and others."""
    cluster = made(
        flow_of(destinations={"erp": ("10s", "1h"), "crm": ("5s",)}), flow_of("orders.eu")
    )
    for group in ("orders.crm", "orders.erp", "orders.route", "orders.report", "orders.eu.erp"):
        cluster.there[Resource("group", group)] = {"members": "0"}
    cluster.reads = {"orders.crm": {"orders.crm.inbox"}, "orders.report": {"commerce.orders"}}
    return cluster
