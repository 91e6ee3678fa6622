"""What flows need and a cluster lacks, and making it so.

``plan_flows`` looks and changes nothing; ``apply_plan`` does what a plan says, and nothing that it
refuses. A plan that was saved is applied exactly, and only to the cluster that it was made from.
Both go on after a kill: what is done is seen, and not done again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from trunkline import naming
from trunkline.admin.cluster import Cluster, KafkaCluster
from trunkline.admin.subjects import forced
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.streams.flow.definition import Flow
from trunkline.streams.plan.differences import (
    Facts,
    compared,
    differences,
    order,
    refuse,
    removals,
    risky,
)
from trunkline.streams.plan.needs import Needs, needs_of
from trunkline.streams.plan.resources import (
    Difference,
    Plan,
    Resource,
    ResourceState,
    ResourceStates,
)
from trunkline.streams.plan.saved import left_to_do

HOLDS = "holds"
"""The attribute that says of a topic at risk whether anything is in it."""


def plan_flows(
    backbone: Backbone,
    flows: Iterable[Flow[Any]],
    *,
    environment: str = "",
    prune: bool = False,
    force: Iterable[str] = (),
) -> Plan:
    """What is to be done so that these flows can run. Blocks; writes nothing.

    ``prune``: also remove what was a destination's or source's that a flow no longer has, else it
    is named in ``leftovers``. ``force``: refusals that are set aside, as ``partitions:orders.x``.
    Raises ConfigurationError, also for a name in ``force`` that nothing is refused for,
    KafkaUnavailable, RegistryUnavailable.
    """
    with KafkaCluster(backbone) as cluster:
        needs = needs_of(flows, backbone)
        return plan_needs(cluster, needs, environment=environment, prune=prune, force=force)


def plan_needs(
    cluster: Cluster,
    needs: Needs,
    *,
    environment: str = "",
    prune: bool = False,
    force: Iterable[str] = (),
) -> Plan:
    """As ``plan_flows``, of any cluster.

    1. Look at what is needed, and compare.
    2. Find what is left over; it is a difference only if it is to be removed.
    3. Ask for the facts of what is at risk, and refuse by them.
    """
    seen = dict(cluster.look(_needed(needs), needs.schemas))
    found, notes = differences(needs, seen)
    left = cluster.look(leftovers_of(cluster, needs), {})
    if prune:
        found += removals(left, left)
        seen |= left
    topics, subjects = risky(found, needs)
    held = {topic: cluster.holds(topic) for topic in topics if Resource("topic", topic) in seen}
    for topic, words in held.items():
        resource = Resource("topic", topic)
        seen[resource] = {**seen[resource], HOLDS: "something" if words else "nothing"}
    against = {name: tuple(cluster.speaks_against(name, needs.schemas[name])) for name in subjects}
    judged = refuse(order(found), needs, Facts(held, against))
    kept = {} if prune else {one: _in_words(cluster, one, left) for one in left}
    return Plan(
        needs.flows,
        environment,
        cluster.id,
        tuple(forced(judged, frozenset(force))),
        _relevant(seen, needs),
        kept,
        tuple(notes),
    )


def apply_plan(backbone: Backbone, plan: Plan) -> Iterator[Difference]:
    """Do what the plan says, from where an earlier ``apply`` of it ended; yields each difference
    when it is done. Blocks; writes to Kafka and the registry while it is iterated.

    Raises ConfigurationError if something of it is refused, or if the cluster is no longer what
    the plan was made from: then nothing is done; KafkaUnavailable, RegistryUnavailable.
    """
    with KafkaCluster(backbone) as cluster:
        yield from carry_out(cluster, plan)


def compare_clusters(
    flows: Iterable[Flow[Any]], first: Backbone, second: Backbone
) -> list[Difference]:
    """What of these flows differs between two environments: what would have to become of the first
    one's for it to be as the second one's. Blocks; writes nothing. Raises as ``plan_flows``."""
    flows = list(flows)
    needs = [needs_of(flows, backbone) for backbone in (first, second)]
    with KafkaCluster(first) as one, KafkaCluster(second) as other:
        return compare_needs(needs[0], one, needs[1], other)


def compare_needs(
    needs: Needs, cluster: Cluster, others: Needs, other: Cluster
) -> list[Difference]:
    """As ``compare_clusters``, of any two. What one of both environments alone has an opinion on,
    as a retention that only production sets, is compared, too."""
    sides = ((needs, cluster), (others, other))
    seen = [at.look(_needed(of), of.schemas) for of, at in sides]
    wanted = [_wanted_of(of, states) for (of, _), states in zip(sides, seen, strict=True)]
    found = []
    for states in seen:
        names = {one: {name for side in wanted for name in side.get(one, ())} for one in states}
        found.append({one: _only(names[one], state) for one, state in states.items()})
    return compared(*found)


def _needed(needs: Needs) -> list[Resource]:
    topics = [Resource("topic", name) for name in needs.topics]
    return [*topics, *(Resource("subject", name) for name in needs.schemas)]


def carry_out(cluster: Cluster, plan: Plan) -> Iterator[Difference]:
    """As ``apply_plan``, on any cluster."""
    if plan.refusals:
        reasons = "\n".join(f"{name}: {why}" for name, why in plan.refusals.items())
        flags = " ".join(f"--force {name}" for name in plan.refusals)
        raise ConfigurationError(
            f"refused, and nothing is done:\n{reasons}\n"
            f"if it is meant all the same, plan or apply with {flags}"
        )
    if plan.cluster != cluster.id:
        raise ConfigurationError(
            f"the plan was made for cluster {plan.cluster}, and this is {cluster.id}: "
            "is it the right environment (--env)?"
        )
    yield from cluster.mend(left_to_do(plan, _as_planned(cluster, plan)))


def _as_planned(cluster: Cluster, plan: Plan) -> ResourceStates:
    """What the plan looked at, as it is now."""
    schemas = {one.name: state["schema"] for one, state in plan.seen.items() if "schema" in state}
    for difference in plan.differences:
        if "schema" in difference.becomes:
            schemas[difference.resource.name] = difference.becomes["schema"]
    asked = {**plan.seen, **{one.resource: {} for one in plan.differences}}
    now = dict(cluster.look(asked, schemas))
    for resource, state in plan.seen.items():
        # What was forced in spite of events is no other plan once they are through.
        if state.get(HOLDS) == "nothing" and resource in now:
            held = "something" if cluster.holds(resource.name) else "nothing"
            now[resource] = {**now[resource], HOLDS: held}
    return now


def leftovers_of(cluster: Cluster, needs: Needs) -> list[Resource]:
    """What was a part's that a flow no longer has; a stranger's group of such a name is none."""
    topics = needs.leftovers("topic", cluster.names("topic"))
    subjects = needs.leftovers("subject", cluster.names("subject"))
    groups = needs.leftovers("group", cluster.names("group"))
    return [*topics, *subjects, *(one for one in groups if _is_ours(cluster, one.name, needs))]


def _is_ours(cluster: Cluster, group: str, needs: Needs) -> bool:
    """Whether a group is a flow's: it has read nothing but topics of the part it is named by."""
    flow = next(name for name in needs.flows if naming.part_of_group(group, name))
    part = naming.part_of_group(group, flow)
    if group == naming.route_group(flow):
        return True
    return all(naming.part_of(topic, flow) == part for topic in cluster.read_by(group))


def _relevant(seen: ResourceStates, needs: Needs) -> dict[Resource, dict[str, str]]:
    """What was seen, without those settings that nobody has an opinion on."""
    wanted, always = _wanted_of(needs, seen), {"partitions", "schema", "members", HOLDS}
    return {one: _only({*wanted.get(one, ()), *always}, state) for one, state in seen.items()}


def _only(names: Container[str], state: ResourceState) -> dict[str, str]:
    return {name: value for name, value in state.items() if name in names}


def _wanted_of(needs: Needs, seen: ResourceStates) -> ResourceStates:
    partitions = {one.name: int(s["partitions"]) for one, s in seen.items() if one.kind == "topic"}
    return needs.wanted(partitions)


def _in_words(cluster: Cluster, one: Resource, left: ResourceStates) -> str:
    if one.kind == "topic":
        return cluster.holds(one.name)
    members = left[one].get("members", "0")
    return "" if members == "0" else f"{members} members"
