"""What flows need of a cluster, all of them together: topics and schemas. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trunkline import naming
from trunkline.errors import ConfigurationError
from trunkline.kafka import TopicSpec, configured
from trunkline.params import Backbone
from trunkline.schemas.subjects import subject, topic_of
from trunkline.schemas.types import schema_of
from trunkline.streams.flow.annotations import type_of_inbox, type_of_request, type_of_topic
from trunkline.streams.flow.definition import Destination, Flow
from trunkline.streams.flow.operation import Operation
from trunkline.streams.plan.resources import Resource, ResourceKind, ResourceState
from trunkline.streams.plan.topics import gateway_topics, is_called, required_topics
from trunkline.streams.publish.publishers import published_by, publishers_topic


@dataclass(frozen=True, slots=True)
class Needs:
    """What flows need.

    ``topics``: by name, as the environment wants them; ``foreign``: those that no flow of these
    publishes, which are made if they are missing and left alone otherwise. ``schemas``: by
    subject. ``longest_delay``: seconds of the longest retry, of the topics that its events come
    through. ``parts``: by flow, its destinations and sources; ``route`` if it routes, and
    ``sources`` if it has any.
    """

    flows: tuple[str, ...]
    files: tuple[str, ...]
    topics: Mapping[str, TopicSpec]
    foreign: frozenset[str]
    schemas: Mapping[str, str]
    longest_delay: Mapping[str, float]
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def wanted(self, there: Mapping[str, int]) -> dict[Resource, ResourceState]:
        """Each resource with the attributes that it must have. ``there``: topics' partitions, of
        which none can be taken away: the topics of a destination get as many as one of them has.
        """
        found: dict[Resource, ResourceState] = {}
        alike: dict[str, int] = {}  # of topics that must have equally many partitions: the most
        for spec in self.topics.values():
            lead = spec.like or spec.name
            most = max(spec.partitions, there.get(spec.name, 0))
            alike[lead] = max(most, alike.get(lead, 0))
        for spec in self.topics.values():
            partitions = alike[spec.like or spec.name]
            numbers = {"partitions": str(partitions), "replication": str(spec.replication)}
            found[Resource("topic", spec.name)] = {**numbers, **spec.config}
        for name, schema in self.schemas.items():
            found[Resource("subject", name)] = {"schema": schema}
        return found

    def leftovers(self, kind: ResourceKind, names: Iterable[str]) -> list[Resource]:
        """Those of these resources that are named as a part's of one of these flows, which no flow
        needs any more. A group of such a name may still be a stranger's."""
        return [Resource(kind, name) for name in sorted(names) if self._is_left(kind, name)]

    def _is_left(self, kind: ResourceKind, name: str) -> bool:
        if kind == "group":
            named = {flow: naming.part_of_group(name, flow) for flow in self.flows}
            return any(part and part not in self.parts[flow] for flow, part in named.items())
        topic = topic_of(name) if kind == "subject" else name
        needed = self.schemas if kind == "subject" else self.topics
        return name not in needed and any(naming.part_of(topic, flow) for flow in self.flows)


def needs_of(flows: Iterable[Flow[Any]], backbone: Backbone) -> Needs:
    """What these flows need of this backbone. Raises ConfigurationError for a type without a
    schema, for two flows that write one subject with different schemas, and for two of one
    name."""
    flows = list(flows)
    _require_own_names(flows)
    topics: dict[str, TopicSpec] = {}
    published: set[str] = set()
    schemas: dict[str, str] = {}
    delays: dict[str, float] = {}
    for flow in flows:
        specs = required_topics(flow, backbone.partitions)
        if published_by(flow):
            specs.append(publishers_topic())
        if is_called(flow):
            specs += gateway_topics()
        for spec in specs:
            before = topics.get(spec.name, spec)
            topics[spec.name] = replace(spec, compact=spec.compact or before.compact)
        published |= {topic.topic for topic in flow.topics if topic.declared_type is None}
        for name, schema in _schemas(flow, backbone.registry_subjects):
            if schemas.setdefault(name, schema) != schema:
                raise ConfigurationError(
                    f"{flow.name} writes the subject {name} with another schema than a flow before "
                    "it: let one flow publish the topic, or both with one type"
                )
        for topic, delay in _delays(flow):
            delays[topic] = max(delay, delays.get(topic, 0.0))
    read = {topic.topic for flow in flows for topic in flow.topics}
    return Needs(
        flows=tuple(flow.name for flow in flows),
        files=tuple(os.path.relpath(flow.place.file) for flow in flows),
        topics={spec.name: spec for spec in configured(backbone, topics.values())},
        foreign=frozenset(read - published),
        schemas=schemas,
        longest_delay=delays,
        parts={flow.name: _parts(flow) for flow in flows},
    )


def _require_own_names(flows: Iterable[Flow[Any]]) -> None:
    """Two flows of one name would have one another's groups, and what is the first's would be left
    over for the second."""
    named: dict[str, Flow[Any]] = {}
    for flow in flows:
        other = named.setdefault(flow.name, flow)
        if other.place.file != flow.place.file:
            raise ConfigurationError(
                f"{other.place.file} and {flow.place.file} have flows of one name, {flow.name!r}: "
                "topics and groups are named by it, so give one of them another"
            )


def _schemas(flow: Flow[Any], strategy: str) -> Iterator[tuple[str, str]]:
    """The schemas that a worker of the flow writes with, by their subjects."""
    written = [(t.topic, type_of_topic(t)) for t in flow.topics if t.sources or t.received]
    # What a route sends to an operation is written with the schema of its request.
    destinations = {id(r.to): r.to for r in flow.routes if r.operation is None}.values()
    written += [(to.inbox, type_of_inbox(to)) for to in destinations]
    for one in flow.operations:
        written.append((operation_subject(one), type_of_request(one)))
    for topic, type in written:
        schema = schema_of(type).json
        yield subject(topic, schema, strategy), schema


def operation_subject(operation: Operation[Any]) -> str:
    """What the schema of an operation's request is registered under, as a topic would be."""
    return naming.operation(operation.flow.name, operation.to.name, operation.name)


def _delays(flow: Flow[Any]) -> Iterator[tuple[str, float]]:
    """By each topic that a destination's events come through, its longest delay."""
    for to in flow.destinations:
        delay = _longest(to)
        routed = [route.topic.topic for route in flow.routes if route.to is to]
        for topic in (*routed, to.inbox, *to.tiers):
            yield topic, delay


def _longest(to: Destination[Any, Any]) -> float:
    return max(to.policy.retry.seconds, default=0.0)


def _parts(flow: Flow[Any]) -> frozenset[str]:
    named = {part.name for part in (*flow.destinations, *flow.sources)}
    steps = {"route"} if flow.routes else set()
    return frozenset(named | steps | ({"sources"} if flow.sources else set()))
