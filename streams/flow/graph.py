"""The topology of flows as a person reads it: a text tree, and a Mermaid flowchart.

Of several flows also what joins them: topics that one publishes and another reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
    topics = [line for topic in flow.topics for line in _topic_nodes(topic)]
    return "\n    ".join(["flowchart LR", *_own_nodes(flow, topics)]) + "\n"


def text_of(flows: Sequence[Flow[Any]]) -> str:
    """Each flow's tree, and below them the topics that join flows."""
    trees = "\n".join(map(text, flows))
    lines = [_Line(f"topic {join}") for join in joins(flows)]
    if not lines:
        return trees
    return f"{trees}\n" + "\n".join(_drawn(_Line("joined by", lines))) + "\n"


def mermaid_of(flows: Sequence[Flow[Any]]) -> str:
    """All flows in one flowchart, each in a frame of its own, with the topics between them: one
    that several flows have stands there once."""
    lines = ["flowchart LR"]
    named = sorted({topic.topic for flow in flows for topic in flow.topics})
    lines += [f'{_id("topic", name)}[("{_label(name)}")]' for name in named]
    for number, flow in enumerate(flows):
        own = [_beside_others(line, flow, number) for line in _own_nodes(flow, [])]
        # What a frame's lines name is drawn in the frame: edges to topics stand behind it.
        shared = [line for line in own if _TOPIC_NODE.search(_bare(line))]
        lines.append(f'subgraph flow_{number}["{_label(flow.name)}"]')
        lines += [f"    {line}" for line in own if line not in shared]
        lines += ["end", *shared]
        for topic in flow.topics:
            for source in topic.sources:
                node = _own(_id("source", source.name), number)
                lines.append(f"{node} --> {_id('topic', topic.topic)}")
    return "\n    ".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class TopicJoin:
    """A topic that joins flows. ``published_by``, ``read_by``: the names of the flows."""

    topic: str
    published_by: Sequence[str]
    read_by: Sequence[str]

    def __str__(self) -> str:
        published = ", ".join(self.published_by) or "no flow of these"
        read = ", ".join(self.read_by) or "no flow of these"
        return f"{self.topic}  (published by {published}; read by {read})"


def joins(flows: Sequence[Flow[Any]]) -> list[TopicJoin]:
    """The topics that several of these flows have, sorted."""
    found = []
    for name in sorted({topic.topic for flow in flows for topic in flow.topics}):
        having = [flow for flow in flows if any(t.topic == name for t in flow.topics)]
        publish = [f.name for f in having if any(t.topic == name and t.sources for t in f.topics)]
        if len(having) > 1:
            found.append(TopicJoin(name, publish, [f.name for f in having if _reads(f, name)]))
    return found


def _reads(flow: Flow[Any], topic: str) -> bool:
    read = [route.topic for route in flow.routes] + [table.topic for table in flow.tables]
    return any(one.topic == topic for one in read)


def _own_nodes(flow: Flow[Any], topics: Sequence[str]) -> list[str]:
    """The lines of a flow; ``topics``: those of its canonical topics."""
    lines = [line for source in flow.sources for line in _source_nodes(source)]
    lines += topics
    lines += [line for one in flow.destinations for line in _destination_nodes(one)]
    lines += [_route_edge(route) for route in flow.routes]
    return lines + [line for table in flow.tables for line in _table_nodes(table)]


_NODE = re.compile(r"\b(?:source|destination|enrichment|table)_\w+")
_TOPIC_NODE = re.compile(r"\btopic_\w+")


def _beside_others(line: str, flow: Flow[Any], number: int) -> str:
    """A line with the names that nodes have beside other flows: a topic's is its Kafka name, those
    of the flow's own parts begin with its number. What stands in quotes is for people."""
    shared = {_id("topic", topic.name): _id("topic", topic.topic) for topic in flow.topics}
    parts = line.split('"')
    for at in range(0, len(parts), 2):
        parts[at] = _NODE.sub(lambda found: _own(found[0], number), parts[at])
        parts[at] = _TOPIC_NODE.sub(lambda found: shared[found[0]], parts[at])
    return '"'.join(parts)


def _bare(line: str) -> str:
    """What of a line stands outside of quotes."""
    return " ".join(line.split('"')[::2])


def _own(node: str, number: int) -> str:
    return f"f{number}_{node}"


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
