"""Which rights on Kafka the steps of a flow need, and those who operate it; as commands of Kafka's
own tool, and as a ``KafkaUser`` of Strimzi.

From definitions alone. Names are literal, so that the rights of flow ``orders`` say nothing of a
flow ``orders.eu``; only transactional ids are prefixes, as each worker makes its own.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from trunkline import naming
from trunkline.kafka.rights import GROUP, TOPIC, TRANSACTIONAL_ID, Right
from trunkline.streams.flow.definition import Destination, Flow
from trunkline.streams.plan.topics import is_called
from trunkline.streams.publish.publishers import published_by, publishers_topic
from trunkline.streams.quota.client import limited
from trunkline.streams.quota.client import topic as limits_topic

WORKER_ROLES = ("source", "route", "deliver")
GATEWAY_ROLE = "gateway"
SCALER_ROLE = "scaler"
OPERATOR_ROLES = ("viewer", "operator")
"""``viewer``: who looks at states, dead letters and replays; ``operator``: who also pauses,
re-drives, discards and replays."""
ROLES = (*WORKER_ROLES, GATEWAY_ROLE, SCALER_ROLE, *OPERATOR_ROLES)

_ORDER = ("Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs")


class _Rights:
    """Rights as they are collected: of one resource in one entry."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, bool], set[str]] = defaultdict(set)

    def topic(self, name: str, *operations: str) -> None:
        self._found[TOPIC, name, False] |= {"Describe", *operations}

    def group(self, name: str, *operations: str) -> None:
        self._found[GROUP, name, False] |= set(operations)

    def reader(self, topic: str, *operations: str) -> None:
        """Of whoever reads all of a topic, beside any group: its client asks for the coordinator of
        a group named after the topic, though it neither joins nor commits."""
        self.topic(topic, "Read", *operations)
        self.group(topic, "Describe")

    def dlq_reader(self, topic: str) -> None:
        """Of whoever reads dead letters."""
        self.topic(topic, "Read")
        self.group(naming.dlq_reader(topic), "Describe")

    def transactions(self, id: str, *, prefixed: bool = True) -> None:
        self._found[TRANSACTIONAL_ID, id, prefixed] |= {"Write", "Describe"}

    def listed(self) -> list[Right]:
        return [
            Right(kind, name, tuple(sorted(operations, key=_ORDER.index)), prefixed)
            for (kind, name, prefixed), operations in sorted(self._found.items())
        ]


def rights(flow: Flow[Any], roles: Collection[str], *, create: bool = False) -> list[Right]:
    """The rights that an account of these roles needs, sorted, and no others.

    ``create``: whether its workers make the topics that are missing, as the environment says.
    """
    found = _Rights()
    if any(role in WORKER_ROLES for role in roles):
        _of_each_worker(found, flow, create=create)
    if "source" in roles:
        _of_sources(found, flow, create=create)
    if "route" in roles:
        _of_routing(found, flow)
    if "deliver" in roles:
        _of_deliveries(found, flow)
    if GATEWAY_ROLE in roles:
        _of_gateways(found, flow, create=create)
    if SCALER_ROLE in roles:
        _of_scalers(found, flow)
    if any(role in OPERATOR_ROLES for role in roles):
        _of_viewers(found, flow)
    if "operator" in roles:
        _of_operators(found, flow)
    return found.listed()


def _of_each_worker(found: _Rights, flow: Flow[Any], *, create: bool) -> None:
    # It looks for all topics at its start, follows what operators ask for, and tells how it is.
    for topic in _topics(flow):
        found.topic(topic, *(["Create"] if create else []))
    found.reader(naming.control(flow.name), "Write")
    if limited(flow.destinations):
        found.reader(limits_topic().name, "Write", *(["Create"] if create else []))
    # An alert of dead letters tells how many nobody has handled.
    for dlq in [*(s.dlq for s in flow.sources), *(d.dlq for d in flow.destinations)]:
        found.dlq_reader(dlq)


def _of_sources(found: _Rights, flow: Flow[Any], *, create: bool) -> None:
    if published_by(flow):
        found.reader(publishers_topic().name, "Write", *(["Create"] if create else []))
    for published in published_by(flow):  # and not what it reads of others
        found.topic(published, "Write")
    if flow.sources:
        found.group(naming.sources_group(flow.name), "Read")
    for source in flow.sources:
        found.topic(source.positions, "Read", "Write")
        found.topic(source.dlq, "Write")
        own = naming.source_transactional_id(flow.name, source.name)
        found.transactions(own, prefixed=False)


def _of_routing(found: _Rights, flow: Flow[Any]) -> None:
    for route in flow.routes:
        found.topic(route.topic.topic, "Read")
    for table in flow.tables:
        found.reader(table.topic.topic, "DescribeConfigs")
    for destination in flow.destinations:
        found.topic(destination.inbox, "Write")
        found.topic(destination.dlq, "Read", "Write")  # read by re-drives
    found.topic(naming.audit(flow.name), "Write")  # what came of a re-drive
    found.group(naming.route_group(flow.name), "Read")
    found.transactions(naming.transactional_ids(flow.name, "route"))


def _of_deliveries(found: _Rights, flow: Flow[Any]) -> None:
    for destination in flow.destinations:
        found.topic(destination.inbox, "Read")
        for tier in destination.tiers:
            found.topic(tier, "Read", "Write", "Delete")  # what is done with is deleted
        found.topic(destination.dlq, "Write")
        if destination.operations:
            found.topic(destination.calls, "Read", "Write")
        if destination.queries:
            found.topic(destination.queries, "Read")
            found.group(naming.query_group(flow.name, destination.name), "Read")
            found.topic(naming.REPLIES, "Write")
        found.group(naming.delivery_group(flow.name, destination.name), "Read")
        found.transactions(naming.transactional_ids(flow.name, destination.name))


def _of_gateways(found: _Rights, flow: Flow[Any], *, create: bool) -> None:
    made = ["Create"] if create else []
    if is_called(flow):
        found.reader(naming.SHARES, "Write", *made)
        found.topic(naming.control(naming.GATEWAYS), "Read", *made)
        found.topic(naming.ACCESSES, "Write", *made)
    for topic in flow.topics:
        if topic.received:
            found.topic(topic.topic, "Write", *made)
    for destination in flow.destinations:
        if destination.operations:
            found.topic(naming.control(flow.name), "Read", *made)
            found.topic(destination.inbox, "Write", *made)
            found.topic(destination.calls, "Read", "Write", *made)
            if destination.queries:
                found.topic(destination.queries, "Write", *made)
                found.topic(naming.REPLIES, "Read", *made)
            found.group(naming.GATEWAY_GROUP, "Describe")


def _of_scalers(found: _Rights, flow: Flow[Any]) -> None:
    found.group(naming.SCALER_GROUP, "Describe")  # its client asks for the coordinator
    found.topic(naming.control(flow.name), "Read")
    for route in flow.routes:
        found.topic(route.topic.topic, "Read")
        found.group(naming.route_group(flow.name), "Describe")
    for destination in flow.destinations:
        for topic in (destination.inbox, *destination.tiers):
            found.topic(topic, "Read")
        found.group(naming.delivery_group(flow.name, destination.name), "Describe")


def _of_viewers(found: _Rights, flow: Flow[Any]) -> None:
    for name in _commanded(flow):
        found.reader(naming.control(name))
        found.reader(naming.audit(name))
    if is_called(flow):
        found.reader(naming.ACCESSES)
    if flow.sources:
        found.group(naming.sources_group(flow.name), "Describe")
    for source in flow.sources:
        found.dlq_reader(source.dlq)
        found.topic(source.positions, "Read")
    for canonical in flow.topics:
        found.reader(canonical.topic)
    if flow.routes:
        found.group(naming.route_group(flow.name), "Describe")
    for destination in flow.destinations:
        for topic in _topics_of(destination):
            found.reader(topic)
        found.dlq_reader(destination.dlq)
        found.group(naming.delivery_group(flow.name, destination.name), "Describe")


def _of_operators(found: _Rights, flow: Flow[Any]) -> None:
    for name in _commanded(flow):
        found.topic(naming.control(name), "Write")
        found.topic(naming.audit(name), "Write")
        found.transactions(f"trunkline.{name}.command")
    for canonical in flow.topics:  # a replay reads it, re-driving a source's letters writes it
        found.topic(canonical.topic, "Read", *(["Write"] if canonical.sources else []))
    found.group(naming.route_group(flow.name), "Describe")  # how far it has routed


def _commanded(flow: Flow[Any]) -> list[str]:
    """Whose control topics operators write: the flow's, and that of the gateways that serve it."""
    return [flow.name, *([naming.GATEWAYS] if is_called(flow) else ())]


def _topics(flow: Flow[Any]) -> list[str]:
    own = [topic for source in flow.sources for topic in (source.positions, source.dlq)]
    for destination in flow.destinations:
        own += _topics_of(destination)
    shared = [topic.topic for topic in flow.topics]
    return [*shared, *own, naming.control(flow.name), naming.audit(flow.name)]


def _topics_of(destination: Destination[Any, Any]) -> list[str]:
    calls = [destination.calls] if destination.operations else []
    calls += [destination.queries] if destination.queries else []
    return [destination.inbox, *destination.tiers, destination.dlq, *calls]


def as_commands(needed: Iterable[Right], principal: str, bootstrap: str) -> str:
    """Commands of ``kafka-acls.sh`` that grant these rights, one a line."""
    lines = []
    for right in needed:
        given = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--add"]
        given += ["--allow-principal", f"User:{principal}"]
        given += [part for name in right.operations for part in ("--operation", name)]
        given += [f"--{right.resource}", right.name]
        given += ["--resource-pattern-type", "prefixed"] if right.prefixed else []
        lines.append(shlex.join(given) + "\n")
    return "".join(lines)


_STRIMZI = {TOPIC: "topic", GROUP: "group", TRANSACTIONAL_ID: "transactionalId"}


def as_kafka_user(needed: Iterable[Right], principal: str, cluster: str) -> str:
    """The manifest of a ``KafkaUser``, which Strimzi's user operator obeys. How it is known to
    Kafka, by a password or a certificate, is the cluster's: ``spec.authentication`` is not here."""
    lines = [
        "apiVersion: kafka.strimzi.io/v1beta2",
        "kind: KafkaUser",
        "metadata:",
        f'  name: "{principal}"',
        "  labels:",
        f'    strimzi.io/cluster: "{cluster}"',
        "spec:",
        "  authorization:",
        "    type: simple",
        "    acls:",
    ]
    for right in needed:
        pattern = "prefix" if right.prefixed else "literal"
        lines += [
            "      - resource:",
            f"          type: {_STRIMZI[right.resource]}",
            f'          name: "{right.name}"',
            f"          patternType: {pattern}",
            f"        operations: [{', '.join(right.operations)}]",
        ]
    return "\n".join(lines) + "\n"
