"""What differs between what flows need and what is there, and what of it must not be done unasked.

Pure: ``differences`` compares, ``refuse`` adds the reasons, from facts about those topics and
subjects that are at risk; ``risky`` says which these are, so that nobody asks for a thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from trunkline.streams.plan.needs import Needs
from trunkline.streams.plan.resources import (
    Difference,
    PlanAction,
    Resource,
    ResourceState,
    ResourceStates,
)
from trunkline.times import format_duration

AT_LEAST = ("max.message.bytes", "min.insync.replicas")
"""Settings of which more than is wanted is right, too."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What only the cluster knows of what is at risk.

    ``held``: by topic, how many events would be lost or disordered, with words for a person;
    "" for none. ``against``: by subject, what speaks against the new schema.
    """

    held: Mapping[str, str] = field(default_factory=dict)
    against: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def differences(needs: Needs, seen: ResourceStates) -> tuple[list[Difference], list[str]]:
    """What must become of what is there, and notes about what cannot be mended from here."""
    there = {
        one.name: int(state["partitions"]) for one, state in seen.items() if one.kind == "topic"
    }
    found: list[Difference] = []
    notes: list[str] = []
    for resource, wanted in needs.wanted(there).items():
        has = seen.get(resource)
        if has is None:
            found.append(Difference(resource, "create", becomes=dict(wanted)))
        elif resource.name not in needs.foreign:
            changes, said = _changed(resource, has, wanted)
            notes += said
            if changes:
                was = {name: has.get(name, "") for name in changes}
                found.append(Difference(resource, "alter", was, changes))
        elif wanted.get("cleanup.policy") == "compact" != has.get("cleanup.policy", "compact"):
            notes.append(
                f"{resource} is published elsewhere and is not compacted, but a table needs its "
                "newest value of each key for ever: plan it together with the flow that publishes"
            )
    return found, notes


def compared(first: ResourceStates, second: ResourceStates) -> list[Difference]:
    """What differs between two clusters, as what becomes of the first one's resources."""
    found: list[Difference] = []
    for one in sorted({*first, *second}):
        has, other = first.get(one), second.get(one)
        if has is None or other is None:
            action: PlanAction = "create" if has is None else "delete"
            found.append(Difference(one, action, dict(has or {}), dict(other or {})))
        elif changes := {n: v for n, v in other.items() if n in has and has[n] != v}:
            found.append(Difference(one, "alter", {n: has[n] for n in changes}, changes))
    return found


def removals(leftovers: Iterable[Resource], seen: ResourceStates) -> list[Difference]:
    """The differences that remove these."""
    shown = ("partitions", "schema", "members")
    return [
        Difference(
            one, "delete", was={name: seen[one][name] for name in shown if name in seen[one]}
        )
        for one in leftovers
        if one in seen
    ]


def _changed(
    resource: Resource, has: ResourceState, wanted: ResourceState
) -> tuple[dict[str, str], list[str]]:
    """The attributes that are to be other ones; and what has to be done by hand."""
    changes = {name: value for name, value in wanted.items() if _differs(name, has, value)}
    notes: list[str] = []
    if "replication" in changes:
        replicas = changes.pop("replication")
        notes.append(
            f"{resource} has {has['replication']} replicas, and {replicas} are wanted: "
            "kafka-reassign-partitions.sh gives it others"
        )
    # With all of two replicas to wait for, one broker's restart would stop every writer.
    if int(changes.get("min.insync.replicas", 0)) >= int(has.get("replication", 1)):
        changes.pop("min.insync.replicas", None)
    return changes, notes


def _differs(name: str, has: ResourceState, wanted: str) -> bool:
    if name not in has:
        # Settings may not be readable; a subject's schema and the numbers always are.
        return False
    if name in AT_LEAST and has[name].isdecimal() and wanted.isdecimal():
        return int(has[name]) < int(wanted)
    if name == "partitions":
        return int(has[name]) < int(wanted)  # Kafka takes none away, and more do no harm
    return has[name] != wanted


def risky(found: Iterable[Difference], needs: Needs) -> tuple[list[str], list[str]]:
    """The topics whose events, and the subjects whose compatibility must be known to judge."""
    topics: list[str] = []
    subjects: list[str] = []
    for one in found:
        kind, name = one.resource
        if kind == "subject" and one.action == "alter":
            subjects.append(name)
        elif kind == "topic" and one.action == "delete":
            topics.append(name)
        elif kind == "topic" and one.action == "alter" and one.becomes.keys() & _DANGEROUS:
            topics += [name, *_alike(name, needs)]
    return list(dict.fromkeys(topics)), subjects


_DANGEROUS = {"partitions", "cleanup.policy"}


def _alike(name: str, needs: Needs) -> list[str]:
    """The retry topics of an inbox: an event of it may wait in one of them."""
    return [spec.name for spec in needs.topics.values() if spec.like == name]


def refuse(found: Iterable[Difference], needs: Needs, facts: Facts) -> list[Difference]:
    """The same differences, each with the reasons for which it must not be done unasked."""
    return [_refused(one, needs, facts) for one in found]


def _refused(one: Difference, needs: Needs, facts: Facts) -> Difference:
    name = one.resource.name
    reasons: dict[str, str] = {}
    if one.resource.kind == "group":
        if (members := one.was.get("members", "0")) != "0":
            reasons["members"] = f"{members} consumers are in it: stop them first"
    elif one.resource.kind == "subject":
        if against := facts.against.get(name):
            reasons["schema"] = "incompatible with what is registered: " + "; ".join(against)
    elif one.action == "delete":
        if held := facts.held.get(name):
            reasons["events"] = f"it still holds {held}"
    else:
        reasons = _of_topic(one, needs, facts)
    return replace(one, refused={f"{what}:{name}": why for what, why in reasons.items()})


def _of_topic(one: Difference, needs: Needs, facts: Facts) -> dict[str, str]:
    name, becomes = one.resource.name, one.becomes
    spec = needs.topics[name]
    reasons: dict[str, str] = {}
    held = [facts.held.get(topic, "") for topic in (name, *_alike(name, needs))]
    if one.action == "alter" and "partitions" in becomes and not spec.like and any(held):
        reasons["partitions"] = (
            f"it holds {next(filter(None, held))}, and with {becomes['partitions']} partitions "
            f"instead of {one.was['partitions']} newer events of a key would come in another "
            "partition, and overtake them; to keep what it has, say partitions = "
            f'{one.was["partitions"]} in [trunkline.topics."{name}"]'
        )
    if one.action == "alter" and "cleanup.policy" in becomes and facts.held.get(name):
        loses = (
            "compaction removes older events of a key, which no replay can send again then"
            if becomes["cleanup.policy"] == "compact"
            else "the newest value of a key would go with its age"
        )
        reasons["cleanup.policy"] = f"it holds {facts.held[name]}, and {loses}"
    if why := _too_short(becomes, needs.longest_delay.get(name, 0.0)):
        reasons["retention.ms"] = why
    return reasons


def _too_short(becomes: ResourceState, delay: float) -> str:
    """Why a retention loses events that wait for their retry; "" if it does not."""
    retention = becomes.get("retention.ms", "-1")
    if retention == "-1" or not delay or int(retention) / 1000 >= delay:
        return ""
    kept, waits = format_duration(int(retention) / 1000), format_duration(delay)
    return f"it would keep events for {kept}, and they may wait for a retry for {waits}"


def order(found: Iterable[Difference]) -> list[Difference]:
    """The order in which differences are mended: what is new, what changes, what goes; a topic
    goes before its group, whose offsets tell what it held."""
    actions: list[PlanAction] = ["create", "alter", "delete"]
    kinds = ["topic", "group", "subject"]
    return sorted(
        found,
        key=lambda one: (actions.index(one.action), kinds.index(one.resource.kind), one.resource),
    )
