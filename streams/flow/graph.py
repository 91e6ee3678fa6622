"""The topology of a flow as a person reads it: a text tree, and a Mermaid flowchart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trunkline.streams.flow.definition import Destination, Flow, Route, Topic
from trunkline.streams.flow.source import SourceDefinition
from trunkline.streams.flow.table import TableDefinition


@dataclass(slots=True)
class _Line:
    """A line of the tree and what hangs below it."""

    text: str
    below: list[_Line] = field(default_factory=list)


def text(flow: Flow[Any]) -> str:
    """The way of an event from each source down to each destination, as a tree of lines."""
    seen: set[int] = set()
    sources = [_source(flow, source, seen) for source in flow.sources]
    others = [_topic(flow, topic, seen) for topic in flow.topics if id(topic) not in seen]
    return "\n".join(_drawn(_Line(f"flow {flow.name}", [*sources, *others]))) + "\n"


def mermaid(flow: Flow[Any]) -> str:
    """The same as a Mermaid flowchart, which GitHub, GitLab and most wikis draw."""
    lines = ["flowchart LR"]
    lines += [line for source in flow.sources for line in _source_nodes(source)]
    lines += [line for topic in flow.topics for line in _topic_nodes(topic)]
    lines += [line for one in flow.destinations for line in _destination_nodes(one)]
    lines += [_route_edge(route) for route in flow.routes]
    lines += [line for table in flow.tables for line in _table_nodes(table)]
    return "\n    ".join(lines) + "\n"


def _source(flow: Flow[Any], source: SourceDefinition[Any], seen: set[int]) -> _Line:
    topics = [topic for topic in flow.topics if source in topic.sources]
    line = _Line(f"source {source.name}  (positions {source.positions}, dlq {source.dlq})")
    line.below = [_topic(flow, topic, seen) for topic in topics]
    return line


def _topic(flow: Flow[Any], topic: Topic[Any], seen: set[int]) -> _Line:
    if id(topic) in seen:
        return _Line(f"topic {topic.topic}  (as above)")
    seen.add(id(topic))
    note = "" if topic.declared_type is None else "  (published elsewhere)"
    routes = [route for route in flow.routes if route.topic is topic]
    tables = [_Line(f"{t.kind} {t.name}  ({t.store})") for t in flow.tables if t.topic is topic]
    return _Line(f"topic {topic.topic}{note}", [*tables, *(_route(route) for route in routes)])


def _route(route: Route[Any, Any]) -> _Line:
    only = f"  (only {', '.join(route.only)})" if route.only else ""
    return _Line(f"route {route.name}{only}", [_inbox(route.to)])


def _inbox(to: Destination[Any, Any]) -> _Line:
    beside = [_Line(f"retry {topic}") for topic in to.tiers] + [_Line(f"dlq {to.dlq}")]
    line = _Line(f"destination {to.name}  ({to.policy})", beside)
    if (enrichment := to.enrichment) is not None:
        line = _Line(f"enrichment {enrichment.name}  ({enrichment.policy})", [line])
    return _Line(f"inbox {to.inbox}", [line])


def _drawn(line: _Line, first: str = "", rest: str = "") -> Iterator[str]:
    yield first + line.text
    for below in line.below:
        last = below is line.below[-1]
        yield from _drawn(
            below, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  ")
        )


def _source_nodes(source: SourceDefinition[Any]) -> Iterator[str]:
    node = _id("source", source.name)
    yield f'{node}["{source.name}"]'
    yield f'{node}_dlq[("{source.dlq}")]'
    yield f"{node} -. not canonical .-> {node}_dlq"


def _topic_nodes(topic: Topic[Any]) -> Iterator[str]:
    node = _id("topic", topic.name)
    yield f'{node}[("{_label(topic.topic)}")]'
    for source in topic.sources:
        yield f"{_id('source', source.name)} --> {node}"


def _table_nodes(table: TableDefinition[Any]) -> Iterator[str]:
    node = _id("table", table.name)
    yield f'{node}[["{table.kind} {table.name}"]]'
    yield f"{_id('topic', table.topic.name)} --> {node}"


def _destination_nodes(to: Destination[Any, Any]) -> Iterator[str]:
    node = _id("destination", to.name)
    yield f'{node}_inbox[("{to.inbox}")]'
    yield f'{node}["{to.name}<br/>{_label(str(to.policy))}"]'
    if (enrichment := to.enrichment) is None:
        yield f"{node}_inbox --> {node}"
    else:
        enriching = _id("enrichment", enrichment.name)
        yield f'{enriching}["{enrichment.name}<br/>{_label(str(enrichment.policy))}"]'
        yield f"{node}_inbox --> {enriching}"
        yield f"{enriching} --> {node}"
    for number, topic in enumerate(to.tiers, 1):
        yield f'{node}_retry_{number}[("{topic}")]'
        yield f"{node} -. failed .-> {node}_retry_{number}"
        yield f"{node}_retry_{number} -. due .-> {node}"
    yield f'{node}_dlq[("{to.dlq}")]'
    yield f"{node} -. dead .-> {node}_dlq"


def _route_edge(route: Route[Any, Any]) -> str:
    only = f": only {', '.join(route.only)}" if route.only else ""
    start, end = _id("topic", route.topic.name), _id("destination", route.to.name)
    return f'{start} -- "{_label(route.name + only)}" --> {end}_inbox'


def _id(kind: str, name: str) -> str:
    return f"{kind}_{re.sub(r'[^0-9A-Za-z]', '_', name)}"


def _label(text: str) -> str:
    return text.replace('"', "#quot;")
