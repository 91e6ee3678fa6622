"""Whether all is well with flows; and if not what, where, since when, and what to do.

What is told here is read from Kafka: how far groups are, what waits, what operators command, and
what workers told last. So it is true also while no worker runs. ``verdicts`` says what of it is a
trouble.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from trunkline import kafka, naming
from trunkline.admin.destinations import DestinationOverview, overview
from trunkline.admin.measures import (
    MAX_READ,
    Group,
    Held,
    Measure,
    groups_of,
    held_offsets,
    measures,
    total,
)
from trunkline.admin.sources import SourceOverview, source_overview
from trunkline.admin.status import WorkerStatus, worker_statuses
from trunkline.admin.targets import SHOWN, Target
from trunkline.errors import ConfigurationError
from trunkline.kafka.offsets import Partition
from trunkline.params import Backbone
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.control.records import ROUTING
from trunkline.streams.dlq.handled import HandledLetters
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.dlq.queue import DeadLetterQueue

AT_ONCE = 4
"""Flows that are looked at side by side."""


@dataclass(frozen=True, slots=True)
class LetterFigures:
    """Dead letters of a destination or source that nobody has handled. ``exact``: else there are
    more, farther back in the queue. ``newest``: when the newest of them died; ``error``: of
    what."""

    count: int = 0
    exact: bool = True
    newest: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """A source: how it is, and its dead letters."""

    overview: SourceOverview
    letters: LetterFigures = field(default_factory=LetterFigures)


@dataclass(frozen=True, slots=True)
class RoutingFigures:
    """Routing of a flow: how many ``workers`` do it, what waits in its canonical topics, and who
    of them cannot route some events for now."""

    members: int
    topics: Mapping[str, Measure]
    workers: Sequence[WorkerStatus] = ()

    @property
    def all(self) -> Measure:
        """Of all topics together."""
        return total(self.topics.values())


@dataclass(frozen=True, slots=True)
class DestinationFigures:
    """A destination: how it is, what waits in its ``inbox`` and its ``retries``, its dead
    letters."""

    overview: DestinationOverview
    inbox: Measure = field(default_factory=Measure)
    retries: Measure = field(default_factory=Measure)
    letters: LetterFigures = field(default_factory=LetterFigures)


@dataclass(frozen=True, slots=True)
class FlowFigures:
    """Everything that is known of a flow at one moment, ``at`` (epoch seconds)."""

    flow: str
    at: float
    sources: Sequence[SourceFigures] = ()
    routing: RoutingFigures | None = None
    destinations: Sequence[DestinationFigures] = ()


def flow_figures(backbone: Backbone, flows: Iterable[str] = ()) -> list[FlowFigures]:
    """How these flows are now, by name; all that have run in this Kafka, if none is given.

    Blocks; writes nothing. Raises ConfigurationError for a flow that is not there, and
    KafkaUnavailable.
    """
    client, now = kafka.admin(backbone), time.time()
    topics = kafka.existing_topics(client, expected=[naming.control(flow) for flow in flows])
    names = _names(backbone, list(flows), topics)
    parts = {name: _Parts.of(name, topics) for name in names}
    groups = groups_of(client, (group for one in parts.values() for group in one.groups))
    wanted = {topic for name in names for topic in parts[name].read(groups) if topic in topics}
    held = held_offsets(client, [(t, n) for t in sorted(wanted) for n in range(topics[t])], now)
    look = _Look(backbone, now, groups, held)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="status") as pool:
        return list(pool.map(look.at, parts.values()))


def _names(backbone: Backbone, asked: list[str], topics: Mapping[str, int]) -> list[str]:
    named = filter(None, map(naming.flow_of_control, topics))
    there = sorted(name for name in named if naming.audit(name) in topics)
    for name in asked:
        if name not in there:
            near = get_close_matches(name, there, SHOWN, 0.3) or there[:SHOWN]
            raise ConfigurationError(
                f"there is no flow {name!r} at {backbone.bootstrap} (no topic "
                f"{naming.control(name)!r}); "
                + (f"there are: {', '.join(near)}" if near else "no flow has run there yet")
                + ". Is it the right environment (--env)?"
            )
    return list(dict.fromkeys(asked)) or there


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a flow has, by the names of its topics."""

    flow: str
    sources: Sequence[str]
    destinations: Mapping[str, Sequence[str]]
    """Each with its inbox and its retry topics."""
    dlqs: Sequence[str]

    @classmethod
    def of(cls, flow: str, topics: Iterable[str]) -> _Parts:
        sources, destinations, dlqs = [], {}, []
        own = [(topic, part) for topic in sorted(topics) if (part := naming.part_of(topic, flow))]
        for topic, part in own:
            if naming.is_positions(topic):
                sources.append(part)
            elif topic == naming.dlq(flow, part):
                dlqs.append(topic)
            elif topic == naming.inbox(flow, part):
                destinations[part] = [topic]
        for topic, part in own:
            if part in destinations and naming.is_tier_of(topic, flow, part):
                destinations[part].append(topic)
        return cls(flow, sources, destinations, dlqs)

    @property
    def groups(self) -> list[str]:
        found = [naming.delivery_group(self.flow, name) for name in self.destinations]
        return [naming.sources_group(self.flow), *found, naming.route_group(self.flow)]

    def routed(self, groups: Mapping[str, Group]) -> set[str]:
        """The canonical topics. What a worker has is read; where none runs, what was read last."""
        group = groups[naming.route_group(self.flow)]
        return set(group.assigned) or {topic for topic, _ in group.progress}

    def read(self, groups: Mapping[str, Group]) -> set[str]:
        own = {topic for topics in self.destinations.values() for topic in topics}
        return {*own, *self.dlqs, *self.routed(groups)}


class _Look:
    """One look at flows; ``at`` is called in several threads."""

    def __init__(
        self,
        backbone: Backbone,
        now: float,
        groups: Mapping[str, Group],
        held: Mapping[Partition, Held],
    ) -> None:
        self._backbone = backbone
        self._now = now
        self._groups = groups
        self._held = held

    def at(self, parts: _Parts) -> FlowFigures:
        """Everything of one flow."""
        state = read_control(self._backbone, naming.control(parts.flow))
        return FlowFigures(
            parts.flow,
            self._now,
            [self._source(parts.flow, name, state) for name in parts.sources],
            self._routing(parts, state),
            [self._destination(parts, name, state) for name in parts.destinations],
        )

    def _source(
        self, flow: str, name: str, state: Mapping[str, Mapping[str, Any]]
    ) -> SourceFigures:
        target, members = Target(flow, name), self._groups[naming.sources_group(flow)].members
        found = source_overview(self._backbone, target, state, members, self._now)
        return SourceFigures(found, self._letters(target, state))

    def _routing(
        self, parts: _Parts, state: Mapping[str, Mapping[str, Any]]
    ) -> RoutingFigures | None:
        name = naming.route_group(parts.flow)
        routed, workers = parts.routed(self._groups), worker_statuses(state, ROUTING, self._now)
        found = self._measures(name, routed)
        members = self._groups[name].members
        return RoutingFigures(members, found, workers) if found or members else None

    def _destination(
        self, parts: _Parts, name: str, state: Mapping[str, Mapping[str, Any]]
    ) -> DestinationFigures:
        target = Target(parts.flow, name)
        group, topics = naming.delivery_group(parts.flow, name), parts.destinations[name]
        found = self._measures(group, topics, retries=topics[1:])
        return DestinationFigures(
            overview(target, state, self._groups[group].members, self._now),
            found.pop(target.inbox, Measure()),
            total(found.values()),
            self._letters(target, state),
        )

    def _measures(
        self, group: str, topics: Iterable[str], *, retries: Iterable[str] = ()
    ) -> dict[str, Measure]:
        topics = frozenset(topics)
        held = {place: span for place, span in self._held.items() if place[0] in topics}
        progress = self._groups[group].progress
        return measures(self._backbone, group, progress, held, retries=retries)

    def _letters(self, target: Target, state: Mapping[str, Mapping[str, Any]]) -> LetterFigures:
        """Those that nobody has handled: of the newest ones, all that there are."""
        if not any(span.all for place, span in self._held.items() if place[0] == target.dlq):
            return LetterFigures()
        handled = HandledLetters(state, target.destination)
        queue = DeadLetterQueue(self._backbone, target.dlq, handled, newest=MAX_READ)
        count, newest = 0, None
        for letter in queue.letters():
            count += 1
            newest = letter if newest is None or letter.time >= newest.time else newest
        if newest is None:
            return LetterFigures(exact=not queue.cut)
        return LetterFigures(count, not queue.cut, newest.time, _error(newest))


def _error(letter: DeadLetter) -> str:
    return f"{letter.error}: {letter.message}"
