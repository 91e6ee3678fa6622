"""Today's way from the canonical topics to one destination: what a replay sends through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from trunkline.event import Event, Headers, replaced
from trunkline.headers import CE_TYPE, TL_DEAD_FROM, TL_FROM, TL_ORIGIN, TL_REPLAY_ID
from trunkline.kafka import Out
from trunkline.kafka.messages import event_of
from trunkline.schemas.codec import PrefetchSchemas
from trunkline.streams.route.router import CompiledTopic, Router


@dataclass(frozen=True, slots=True)
class DestinationPath:
    """The routes to one destination. ``learn``: makes schemas known, as a router does.
    ``appends``: whether the destination's sink keeps every event."""

    destination: str
    inbox: str
    topics: dict[str, CompiledTopic]
    router: Router
    learn: PrefetchSchemas
    appends: bool

    def listens(self, topic: str, headers: Headers) -> bool:
        """Whether an event with these headers concerns the destination."""
        routes = self.topics[topic].routes
        if any(not route.only for route in routes):
            return True
        event_type = (dict(headers).get(CE_TYPE) or b"").decode(errors="replace")
        return any(route.listens(event_type) for route in routes)

    def event(self, message: Message) -> Event[Any]:
        """The canonical event of a record of one of the topics."""
        return event_of(message, self.topics[message.topic() or ""].decode)


def with_replay_headers(records: Sequence[Out], origin: str, id: str) -> list[Out]:
    """The records, marked as sent again: by whose request, and what kind it is."""
    mark = {TL_ORIGIN: origin.encode(), TL_REPLAY_ID: id.encode()}
    return [(topic, key, value, replaced(h, mark)) for topic, key, value, h in records]


def events_in(records: Sequence[Out]) -> int:
    """Of how many canonical events these records are made."""
    return len({_origin(headers) for _, _, _, headers in records})


def _origin(headers: Headers) -> bytes:
    named = dict(headers)
    if TL_DEAD_FROM in named:
        return named[TL_DEAD_FROM]
    return named.get(TL_FROM, b"").rpartition(b"/")[0]
