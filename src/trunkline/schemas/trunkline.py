"""The types of trunkline, made by `trunkline schemas generate`:
change avro_schemas/trunkline, not this file."""

# ruff: noqa: E501

from __future__ import annotations

from typing import TypedDict

from trunkline.schemas.types import avro_type


class HttpCall(TypedDict):
    """A call of an operation that was imported."""

    operation: str
    """The operation's name in its flow."""
    key: str
    """The entity that it is about, empty for none."""
    parameters: str
    """An object of the parameters, as JSON."""
    body: str | None
    """The body, as JSON, null for none."""


avro_type(
    HttpCall,
    r"""
{"type": "record", "name": "trunkline.HttpCall", "doc": "A call of an operation that was imported.", "fields": [
{"name": "operation", "type": "string", "doc": "The operation's name in its flow."},
{"name": "key", "type": "string", "doc": "The entity that it is about, empty for none."},
{"name": "parameters", "type": "string", "doc": "An object of the parameters, as JSON."},
{"name": "body", "type": ["null", "string"], "default": null, "doc": "The body, as JSON, null for none."}
]}
""",
)
