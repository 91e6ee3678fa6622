"""Which Avro schema belongs to a Python type: the generated modules say it, the engine asks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastavro.schema import SchemaParseException, UnknownType

from trunkline.errors import ConfigurationError
from trunkline.schemas import avro
from trunkline.schemas.rules.check import Check
from trunkline.schemas.rules.of_schema import compiled_rules


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """The Avro schema of a type.

    ``name``: its full name, ``commerce.Order``. ``json``: the schema as it goes to the registry.
    ``parsed``: the same, as fastavro wants it; not to be changed. ``check``: what a value breaks of
    the rules that the schema has; None where it has none.
    """

    name: str
    json: str
    parsed: Any
    check: Check | None = None


_schemas: dict[type, AvroSchema] = {}


def avro_type(cls: type, schema_json: str) -> None:
    """Say that ``cls`` is the type of the record ``schema_json``. Generated modules call this.

    Raises ConfigurationError for what is no schema of a record, and for rules that are none.
    """
    try:
        canonical = json.dumps(json.loads(schema_json), ensure_ascii=False, separators=(",", ":"))
        parsed = avro.parse(canonical)
        if avro.has_endless_array(parsed):
            raise ValueError("an array of items that take no bytes could not be read back")
        check = compiled_rules(canonical, parsed)
        _schemas[cls] = AvroSchema(parsed["name"], canonical, parsed, check)
    except (ValueError, TypeError, KeyError, SchemaParseException, UnknownType) as error:
        raise ConfigurationError(f"the Avro schema of {_full(cls)} is wrong: {error}") from error


def schema_of(cls: type) -> AvroSchema:
    """The schema of a type. Raises ConfigurationError for a type that has none."""
    try:
        return _schemas[cls]
    except KeyError:
        raise ConfigurationError(
            f"{_full(cls)} has no Avro schema: describe it in avro_schemas/<domain>/"
            f"{getattr(cls, '__name__', cls)}.avsc, run `trunkline schemas generate` "
            "and import the type from the generated module"
        ) from None


def has_schema(cls: type) -> bool:
    """Whether ``schema_of(cls)`` returns a schema."""
    return cls in _schemas


def _full(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}" if isinstance(cls, type) else repr(cls)
