"""Taking a flow away: its topics, groups and subjects, and the transactions that it left open.

A flow is known by its name: the names of what it has made tell what is its own. The canonical
topics that it published stay: others may read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException

from trunkline import kafka, naming
from trunkline.admin.cluster import Cluster, KafkaCluster
from trunkline.admin.planning import leftovers_of
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.streams.plan.differences import order, removals
from trunkline.streams.plan.needs import Needs
from trunkline.streams.plan.resources import Difference, Resource

FENCE_TIMEOUT = 30.0
"""Seconds that Kafka has to end a transaction of a source."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What is a flow's own. ``differences``: each is removed, in this order; ``holds``: what is in
    the topics, in words; ``sources``: whose transactions are ended."""

    flow: str
    differences: tuple[Difference, ...]
    holds: Mapping[Resource, str]
    sources: tuple[str, ...]


def plan_removal(backbone: Backbone, flow: str) -> Removal:
    """What there is of the flow of this name. Blocks; writes nothing. Raises ConfigurationError if
    workers of it run, KafkaUnavailable, RegistryUnavailable."""
    with KafkaCluster(backbone) as cluster:
        return removal_of(cluster, flow)


def removal_of(cluster: Cluster, flow: str) -> Removal:
    """As ``plan_removal``, of any cluster."""
    nothing = Needs((flow,), (), {}, frozenset(), {}, {}, {flow: frozenset()})
    own = [Resource("topic", name) for name in (naming.control(flow), naming.audit(flow))]
    there = cluster.look([*leftovers_of(cluster, nothing), *own], {})
    busy = [one.name for one, state in there.items() if state.get("members", "0") != "0"]
    if busy:
        raise ConfigurationError(
            f"workers of {flow!r} run (in {', '.join(sorted(busy))}): stop them first"
        )
    topics = [one.name for one in there if one.kind == "topic"]
    sources = {naming.part_of(t, flow) for t in topics if naming.is_positions(t)}
    holds = {Resource("topic", topic): cluster.holds(topic) for topic in topics}
    found = tuple(order(removals(there, there)))
    return Removal(flow, found, holds, tuple(sorted(sources)))


def remove_flow(backbone: Backbone, removal: Removal) -> Iterator[Difference]:
    """Remove what is named there; yields each that is gone. Killed, it is planned and run again.
    Blocks; writes to Kafka and the registry while it is iterated. Raises as ``plan_removal``, and
    ConfigurationError for what Kafka refuses."""
    for source in removal.sources:
        _end_transactions(backbone, removal.flow, source)
    with KafkaCluster(backbone) as cluster:
        yield from cluster.mend(removal.differences)


def _end_transactions(backbone: Backbone, flow: str, source: str) -> None:
    """End what a source that was killed left open, which would hold back readers of its topics;
    one that still runs somewhere is fenced, and publishes nothing more."""
    own = naming.source_transactional_id(flow, source)
    try:
        kafka.producer(backbone, transactional_id=own).init_transactions(FENCE_TIMEOUT)
    except KafkaException as failure:
        what = f"the transactions of {naming.qualified(flow, source)} cannot be ended"
        raise kafka.unavailable(what, failure) from failure
