"""Events that systems send by HTTP: JSON becomes canonical events of a flow's received topics."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast, get_args

from trunkline.access.policy import Client
from trunkline.event import Change, Record, event_headers
from trunkline.gateway.problems import Problem
from trunkline.gateway.requests import json_of
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec, Encode
from trunkline.schemas.plain.document import json_schemas, keyed
from trunkline.schemas.plain.read import FieldError, PlainReader, broken_rules
from trunkline.schemas.subjects import subject
from trunkline.schemas.types import AvroSchema, schema_of
from trunkline.streams.flow.annotations import type_of_topic
from trunkline.streams.flow.definition import Flow

EVENTS_JSON = (
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
)
MOST = 1_000
"""Events of one request."""
MAX_KEY = 1_000
CHANGES = tuple(change for change in get_args(Change) if change != "truncate")
_READ_OVER = ("specversion", "source", "datacontenttype")
"""What an event may have and the gateway says itself."""
_ATTRIBUTES = frozenset((*_READ_OVER, "id", "type", "time", "change", "key", "data"))
_ID = re.compile(r"[\x21-\x7e]{1,255}")
_TYPE = re.compile(r"[\x20-\x7e]{1,255}")
Made = tuple[bytes, bytes | None, list[tuple[str, bytes]]]
"""Key, value and headers of a record."""


@dataclass(frozen=True, slots=True)
class EventTopic:
    """A topic that callers may publish to. ``key``: the field of its value that is the key."""

    topic: str
    key: str
    schema: AvroSchema
    reader: PlainReader
    encode: Encode

    def events_of(self, body: bytes, client: str, traceparent: str) -> list[Made]:
        """The records of a body: an event or a list of them. Raises Problem, with all that is
        wrong with any of them; then none is taken."""
        given = json_of(body)
        many = given if isinstance(given, list) else [given]
        if not 0 < len(many) <= MOST:
            raise Problem("not-acceptable", f"send 1 to {MOST} events, and not {len(many)}")
        made: list[Made] = []
        errors: list[FieldError] = []
        for index, one in enumerate(many):
            at = f"#/{index}" if isinstance(given, list) else "#"
            wrong: list[FieldError] = []
            found = self._event(one, at, wrong, client, traceparent)
            errors += wrong
            if found is not None and not wrong:
                made.append(found)
        if errors:
            raise Problem("not-acceptable", f"{len(errors)} mistakes", errors=errors[:1_000])
        return made

    def _event(
        self, given: Any, at: str, wrong: list[FieldError], client: str, traceparent: str
    ) -> Made | None:
        if not isinstance(given, dict):
            wrong.append(FieldError(at, "must be an object"))
            return None
        for name in given.keys() - _ATTRIBUTES:
            wrong.append(FieldError(f"{at}/{name}", "is no attribute of an event"))
        change, id_ = given.get("change", "create"), given.get("id")
        if change not in CHANGES:
            wrong.append(FieldError(f"{at}/change", f"must be one of {', '.join(CHANGES)}"))
            return None
        if not isinstance(id_, str) or not _ID.fullmatch(id_):
            told = "must be 1 to 255 visible ASCII characters, the same whenever it is sent again"
            wrong.append(FieldError(f"{at}/id", told))
        type_ = given.get("type", f"{self.topic}.{change}")
        if not isinstance(type_, str) or not _TYPE.fullmatch(type_):
            wrong.append(FieldError(f"{at}/type", "must be 1 to 255 ASCII characters"))
        time = _time(given["time"], at, wrong) if "time" in given else datetime.now(UTC)
        key, value = self._key_and_value(given, change, at, wrong)
        if wrong:
            return None
        record = Record(
            key=key,
            data={},
            change=cast(Change, change),
            id=str(id_),
            time=time,
            traceparent=traceparent,
        )
        headers = event_headers(record, source=f"/gateway/{client}", type=type_)
        return key.encode(), value, headers

    def _key_and_value(
        self, given: dict[str, Any], change: str, at: str, wrong: list[FieldError]
    ) -> tuple[str, bytes | None]:
        """The key of an event's entity, and its data in bytes; of a delete none."""
        if change == "delete":
            key = given.get("key")
            if not isinstance(key, str):
                wrong.append(FieldError(f"{at}/key", "must be a text: of a delete it is all"))
            elif "data" in given:
                wrong.append(FieldError(f"{at}/data", "must not be there: it is a delete"))
            value = None
        else:
            data, errors = self.reader.read(given.get("data"))
            errors = errors or broken_rules(self.schema.check, data)
            within = f"{at}/data"
            wrong += [FieldError(within + e.pointer.removeprefix("#"), e.detail) for e in errors]
            if errors:
                return "", None
            key, value = str(data[self.key]), self.encode(data)
            if "key" in given and given["key"] != key:
                wrong.append(FieldError(f"{at}/key", f"must be data/{self.key}, or left out"))
        if isinstance(key, str) and not 0 < len(key) <= MAX_KEY:
            wrong.append(FieldError(f"{at}/key", f"must have 1 to {MAX_KEY} characters"))
        return str(key), value


class EventTopics:
    """The received topics of some flows."""

    def __init__(self, topics: Iterable[EventTopic]) -> None:
        self._topics = {one.topic: one for one in topics}

    @classmethod
    def of(cls, flows: Iterable[Flow[Any]], backbone: Backbone, codec: Codec) -> EventTopics:
        """Those of these flows. Asks the registry as ``Catalog.of``."""
        found = []
        for topic in (one for flow in flows for one in flow.topics if one.received):
            type_ = type_of_topic(topic)
            schema = schema_of(type_)
            named = subject(topic.topic, schema.json, backbone.registry_subjects)
            encode: Encode = codec.encoder(type_, named, register=backbone.create)
            reader = PlainReader(schema.parsed)
            found.append(EventTopic(topic.topic, topic.received, schema, reader, encode))
        return cls(found)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return sorted(self._topics)

    def find(self, topic: str, client: Client) -> EventTopic:
        """The topic, if the client may publish to it. Raises Problem."""
        found = self._topics.get(topic)
        if found is None:
            raise Problem("not-found", "no flow receives events of this topic here")
        if not client.may_publish(topic):
            right, name = f"publish {topic}", client.name
            raise Problem("forbidden", f"{name} needs the right to {right}", permission=right)
        return found

    def paths(self, client: Client) -> dict[str, Any]:
        """What OpenAPI says of those that a client may publish to."""
        mine = [one for name, one in self._topics.items() if client.may_publish(name)]
        return {f"/v1/topics/{one.topic}/events": {"post": _operation(one)} for one in mine}

    def schemas(self, client: Client) -> dict[str, Any]:
        """The schemas that ``paths`` refer to."""
        found: dict[str, Any] = {}
        for name, one in self._topics.items():
            if client.may_publish(name):
                found |= json_schemas(one.schema.parsed)
        return found


def _operation(one: EventTopic) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    attributes: dict[str, Any] = {
        **dict.fromkeys(_READ_OVER, True),
        "id": {**text, "maxLength": 255, "pattern": f"^{_ID.pattern}$"},
        "type": {**text, "maxLength": 255, "pattern": f"^{_TYPE.pattern}$"},
        "time": {"type": "string", "format": "date-time"},
    }
    event = {"anyOf": [_changed(attributes, keyed(one.schema, one.key)), _deleted(attributes)]}
    several = {"type": "array", "items": event, "minItems": 1, "maxItems": MOST}
    accepted = {"type": "object", "properties": {"accepted": {"type": "integer"}}}
    problem = {"$ref": "#/components/schemas/Problem"}
    return {
        "operationId": f"publish.{one.topic}",
        "summary": f"Publish events of {one.topic}",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"anyOf": [event, several]}}},
        },
        "responses": {
            "200": {
                "description": "Kafka has all of them",
                "content": {"application/json": {"schema": accepted}},
            },
            "default": {
                "description": "a problem",
                "content": {"application/problem+json": {"schema": problem}},
            },
        },
    }


def _changed(attributes: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """An event with data. It may say its key, too; but the one that is in its data, so that it is
    better left out."""
    change = {"enum": [one for one in CHANGES if one != "delete"]}
    return _object({**attributes, "change": change, "data": data}, "id", "data")


def _deleted(attributes: dict[str, Any]) -> dict[str, Any]:
    key = {"type": "string", "minLength": 1, "maxLength": MAX_KEY}
    return _object({**attributes, "change": {"const": "delete"}, "key": key}, "id", "change", "key")


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    closed = {"type": "object", "additionalProperties": False}
    return {**closed, "required": list(required), "properties": properties}


def _time(given: Any, at: str, wrong: list[FieldError]) -> datetime:
    with suppress(TypeError, ValueError, OverflowError):
        found = datetime.fromisoformat(given)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    wrong.append(FieldError(f"{at}/time", "must be a moment with a zone, as 2026-11-29T14:03:00Z"))
    return datetime.now(UTC)
