"""How the registry's subjects are named."""

from __future__ import annotations

import json

from fastavro.schema import fullname

_OF_VALUES = "-value"


def subject(topic: str, schema_json: str = "", strategy: str = "topic") -> str:
    """The registry's subject of a topic's values, as one of Confluent's strategies names it:
    ``topic`` (TopicNameStrategy), ``record``, ``topic-record``."""
    if strategy == "topic":
        return f"{topic}{_OF_VALUES}"
    record = name_of(schema_json)
    return record if strategy == "record" else f"{topic}-{record}"


def topic_of(subject: str) -> str:
    """The topic of whose values a subject is; "" for any other subject."""
    return subject.removesuffix(_OF_VALUES) if subject.endswith(_OF_VALUES) else ""


def name_of(schema_json: str) -> str:
    """The full name of a schema's type; the schema itself where it has none."""
    schema = json.loads(schema_json)
    return fullname(schema) if isinstance(schema, dict) and "name" in schema else schema_json
