"""Today's path from the canonical topics to one destination: what past events are sent through."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.event import Event, Headers, replaced
from trunkline.headers import CE_TYPE, TL_DEAD_FROM, TL_FROM, TL_ORIGIN, TL_REPLAY_ID
from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import AnyMessage, event_of
from trunkline.schemas.codec import PrefetchSchemas
from trunkline.streams.route.compiled import CompiledTopic
from trunkline.streams.route.router import Router, RoutingResult

PIECE_SECONDS = 0.02
"""Seconds after which routing of past events makes room for others in the event loop."""


@dataclass(frozen=True, slots=True)
class DestinationPath:
    """The routes to one destination.

    ``topics``: those that routes to it listen to. ``prefetch_schemas``: asks the registry for the
    schemas of values, as a router does. ``appends``: whether the destination's sink keeps every
    event, so that an older one behind a newer one does no harm.
    """

    destination: str
    inbox: str
    topics: dict[str, CompiledTopic]
    router: Router
    prefetch_schemas: PrefetchSchemas
    appends: bool

    def takes(self, message: AnyMessage) -> bool:
        """Whether a route to the destination listens to this canonical event, by its type."""
        topic = self.topics.get(message.topic() or "")
        if topic is None:
            return False
        if any(not route.only for route in topic.routes):  # whatever its type is
            return True
        headers: Any = message.headers() or []
        event_type = (dict(headers).get(CE_TYPE) or b"").decode(errors="replace")
        return any(route.listens(event_type) for route in topic.routes)

    async def route(self, messages: Sequence[AnyMessage]) -> RoutingResult:
        """The records of these messages, made in pieces: routes that are not async let live events
        have their turns between. Raises one of ROUTING_HOLDS if one cannot be routed for now."""
        total = RoutingResult()
        while total.taken < len(messages):
            done = await self.router.route(messages[total.taken :], seconds=PIECE_SECONDS)
            total.add(done.all_or_none())
            await asyncio.sleep(0)
        return total

    def event(self, message: AnyMessage) -> Event[Any]:
        """The canonical event of a record of one of the topics."""
        return event_of(message, self.topics[message.topic() or ""].decode)


def with_replay_headers(
    records: Sequence[ProducerRecord], origin: str, id: str
) -> list[ProducerRecord]:
    """The records, marked as sent again. ``origin``: replay or redrive; ``id``: of the request."""
    mark = {TL_ORIGIN: origin.encode(), TL_REPLAY_ID: id.encode()}
    return [record._replace(headers=replaced(record.headers, mark)) for record in records]


def count_events(records: Sequence[ProducerRecord]) -> int:
    """Of how many canonical events these records are made: a route may make several of one."""
    return len({_canonical_event(record.headers) for record in records})


def _canonical_event(headers: Headers) -> bytes:
    """``topic/partition/offset`` of the event that an inbox record or a dead letter is made of."""
    named = dict(headers)
    if TL_DEAD_FROM in named:
        return named[TL_DEAD_FROM]
    return b"/".join(named.get(TL_FROM, b"").split(b"/", 3)[:3])
