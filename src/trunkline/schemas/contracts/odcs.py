"""Contracts of the Open Data Contract Standard, version 3.1 (bitol-io/open-data-contract-standard).

A domain is a contract, each of its records an object, each field a property; rules are quality
checks of the engine ``cel``. What the standard has no word for stands in ``physicalType``, as Avro
names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.logical import logical_of
from trunkline.schemas.generate.sources import Domain, read_domains
from trunkline.schemas.personal import TAGS, is_personal
from trunkline.schemas.rules.declared import RULES

API_VERSION = "v3.1.0"
_LOGICAL = {
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "bytes": "string",
    "fixed": "string",
    "string": "string",
    "enum": "string",
    "array": "array",
    "map": "object",
    "record": "object",
}
_OF_LOGICAL_TYPE = {
    "decimal": "number",
    "date": "date",
    "uuid": "string",
    "time-millis": "time",
    "time-micros": "time",
    "timestamp-millis": "timestamp",
    "timestamp-micros": "timestamp",
    "local-timestamp-millis": "timestamp",
    "local-timestamp-micros": "timestamp",
}
_FORMATS: dict[str, dict[str, Any]] = {
    "int": {"format": "i32"},
    "long": {"format": "i64"},
    "float": {"format": "f32"},
    "double": {"format": "f64"},
    "bytes": {"format": "binary"},
    "fixed": {"format": "binary"},
    "uuid": {"format": "uuid"},
    "timestamp-millis": {"timezone": True, "defaultTimezone": "Etc/UTC"},
    "timestamp-micros": {"timezone": True, "defaultTimezone": "Etc/UTC"},
    "local-timestamp-millis": {"timezone": False},
    "local-timestamp-micros": {"timezone": False},
}


def contracts_of(source: Path, version: str) -> dict[str, dict[str, Any]]:
    """The contracts of a folder ``<domain>/<Type>.avsc``, by domain, as plain data. ``version``: of
    the contracts. Raises ConfigurationError, naming the file that is wrong."""
    return {domain.name: _contract(domain, version) for domain in read_domains(source)}


def _contract(domain: Domain, version: str) -> dict[str, Any]:
    types = [one for one in domain.types.values() if one.short == one.file.stem]
    return {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": domain.name,
        "name": domain.name,
        "version": version,
        "status": "active",
        "domain": domain.name,
        "schema": [
            _object(json.loads(domain.complete(one)))
            for one in types
            if one.schema["type"] == "record"
        ],
    }


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    named = avro.named_types(schema)
    return _present(
        name=schema["name"].rpartition(".")[2],
        logicalType="object",
        physicalName=schema["name"],
        physicalType="record",
        description=schema.get("doc"),
        tags=_tags(schema),
        quality=_quality(schema),
        properties=list(_properties(schema, named, (schema["name"],))),
    )


def _properties(
    record: dict[str, Any], named: dict[str, Any], inside: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """``inside``: the records that this one stands in; one that contains itself is only named."""
    for field in record["fields"]:
        type_ = field["type"]
        default = {"property": "default", "value": field.get("default")}
        yield _present(
            name=field["name"],
            description=field.get("doc"),
            required=not (type_ == "null" or (isinstance(type_, list) and "null" in type_)),
            classification="confidential" if is_personal(field) else None,
            tags=_tags(field),
            customProperties=[default] if "default" in field else [],
            **_typed(type_, named, inside, _quality(field)),
        )


def _typed(
    schema: Any, named: dict[str, Any], inside: tuple[str, ...], quality: list[dict[str, Any]]
) -> dict[str, Any]:
    """What a type says of a property. ``quality``: checks beside those of the type itself."""
    if isinstance(schema, list):
        rest = [branch for branch in schema if branch != "null"]
        if len(rest) != 1:
            several = {_typed(branch, named, inside, [])["logicalType"] for branch in rest}
            logical = several.pop() if len(several) == 1 else "string"
            if several & {"object", "array"}:
                logical = "object"
            physical = _avros(schema, named)
            return _present(logicalType=logical, physicalType=physical, quality=quality)
        schema = rest[0]
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    kind = avro.kind(schema)
    name = schema["logicalType"] if logical_of(schema) is not None else kind
    found = _present(
        logicalType=_OF_LOGICAL_TYPE.get(name) or _LOGICAL.get(kind, "string"),
        physicalType=_avros(schema, named),
        logicalTypeOptions=_FORMATS.get(name),
    )
    if kind == "enum":
        quality = [*quality, _one_of(schema["symbols"])]
    if kind == "array":
        found["items"] = _typed(schema["items"], named, inside, [])
    if kind == "record" and schema["name"] not in inside:
        inner = (*inside, schema["name"])
        quality = [*quality, *_quality(schema)]
        found["properties"] = list(_properties(schema, named, inner))
    return found | _present(quality=quality)


def _avros(schema: Any, named: dict[str, Any]) -> str:
    """A type in Avro's own words, in a line."""
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    kind = avro.kind(schema)
    match kind:
        case "union":
            return " | ".join(_avros(branch, named) for branch in schema)
        case "array":
            return f"array<{_avros(schema['items'], named)}>"
        case "map":
            return f"map<{_avros(schema['values'], named)}>"
        case "record" | "enum" | "fixed":
            plain = f"{kind} {schema['name']}"
        case _:
            plain = kind
    if logical_of(schema) is None:
        return plain
    digits = f"({schema['precision']}, {schema.get('scale', 0)})" if "precision" in schema else ""
    return f"{plain} as {schema['logicalType']}{digits}"


def _quality(holder: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        _present(
            name=rule["name"],
            description=rule.get("doc"),
            type="custom",
            engine="cel",
            implementation=rule["expr"],
        )
        for rule in holder.get(RULES, ())
    ]


def _one_of(symbols: list[str]) -> dict[str, Any]:
    return {
        "type": "library",
        "metric": "invalidValues",
        "arguments": {"validValues": symbols},
        "mustBe": 0,
    }


def _tags(holder: dict[str, Any]) -> list[str]:
    tags = holder.get(TAGS, [])
    return [str(tag) for tag in tags] if isinstance(tags, list) else [str(tags)]


def _present(**given: Any) -> dict[str, Any]:
    """Without what is None or empty."""
    return {name: value for name, value in given.items() if value not in (None, [], {}, "")}
