"""Reads ``avro_schemas/<domain>/<Type>.avsc``: files whose types may refer to each other."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastavro.schema import SchemaParseException, UnknownType

from trunkline.errors import ConfigurationError
from trunkline.schemas import avro
from trunkline.schemas.generate.legal import MAX_DEPTH, faults, is_too_deep
from trunkline.schemas.names import NAMED, PRIMITIVES, definitions, inlined, qualified
from trunkline.schemas.rules.declared import RULES, RuleFault, rules_of_records
from trunkline.schemas.rules.place import place_in_file

TAKEN_NAMES = {
    *("bool", "int", "float", "bytes", "str", "list", "dict"),
    *("datetime", "decimal", "uuid", "Literal", "TypedDict", "annotations", "avro_type"),
}
"""What a generated module uses."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A named type: its full name, the schema with full names only, and the file it stands in."""

    name: str
    schema: dict[str, Any]
    file: Path

    @property
    def short(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(".")[2]

    @property
    def python(self) -> str:
        """The name of the Python type."""
        return python_name(self.name)


def python_name(name: str) -> str:
    """The name of the Python type of an Avro type: its own, without the namespace, unless Python
    or the generated module has another use for it."""
    short = name.rpartition(".")[2]
    if short.startswith("__"):
        return f"T{short}"  # __doc__, __name__; and __x within a class is another name
    return f"{short}_" if short in TAKEN_NAMES or keyword.iskeyword(short) else short


class Domain:
    """The types of one folder."""

    def __init__(self, folder: Path) -> None:
        """Reads all files. Raises ConfigurationError naming the file that is wrong."""
        self.name = folder.name
        self.types: dict[str, Definition] = {}
        for file in sorted(folder.glob("*.avsc")):
            self._read(file)
        self._check_names(folder)
        complete = [self.complete(definition) for definition in self.types.values()]
        for definition, text in zip(self.types.values(), complete, strict=True):
            _check(definition, text)
        self._check_rules(complete)

    def complete(self, definition: Definition) -> str:
        """The type's schema as JSON in which each type that it needs is defined where it first
        occurs: one that stands for itself, as the registry wants it."""
        schema = inlined(definition.name, lambda name: self._known(name, definition.file), set())
        return json.dumps(schema, ensure_ascii=False)

    def _read(self, file: Path) -> None:
        schema = _json(file)
        if not isinstance(schema, dict) or schema.get("type") not in NAMED:
            raise ConfigurationError(f"{file} does not describe a record, an enum or a fixed")
        if str(schema.get("name", "")).rpartition(".")[2] != file.stem:
            raise ConfigurationError(f"{file} must describe the type {file.stem}: set its name so")
        for name, node in _named_types(schema, file):
            if name.rpartition(".")[2] in PRIMITIVES:
                raise ConfigurationError(f"{file}: {name} has the name of a primitive type")
            if name in self.types:
                raise ConfigurationError(
                    f"{name} is defined twice: in {self.types[name].file} and in {file}"
                )
            self.types[name] = Definition(name, node, file)

    def _check_names(self, folder: Path) -> None:
        """All types of a domain become names of one Python module."""
        names: dict[str, str] = {}
        for definition in self.types.values():
            other = names.setdefault(definition.python, definition.name)
            if other != definition.name:
                raise ConfigurationError(
                    f"{folder}: {other} and {definition.name} would be one Python name; rename one"
                )

    def _check_rules(self, complete: Iterable[str]) -> None:
        """All that is wrong with the rules of these types, with the line and column of each."""
        told: dict[str, None] = {}  # a type stands in each that needs it
        for text in complete:
            for fault in rules_of_records(avro.parse(text))[1] if RULES in text else ():
                told[f"{self._place(fault)}: {fault}"] = None
        if told:
            raise ConfigurationError("\n".join(told))

    def _place(self, fault: RuleFault) -> str:
        file = self.types[fault.type].file
        if fault.at is None:
            return str(file)
        line, column = place_in_file(file.read_text("utf-8"), fault.expression, fault.at)
        return f"{file}:{line}:{column}"

    def _known(self, name: str, file: Path) -> dict[str, Any]:
        try:
            return self.types[name].schema
        except KeyError:
            known = ", ".join(sorted(self.types)) or "nothing"
            raise ConfigurationError(
                f"{file} refers to {name}, which no file of {file.parent} defines; it has {known}"
            ) from None


def read_domains(source: Path) -> list[Domain]:
    """All domains of a folder, by name. Raises ConfigurationError naming the file that is wrong."""
    folders = sorted({file.parent for file in source.glob("*/*.avsc")})
    if not folders:
        raise ConfigurationError(f"{source} has no <domain>/<Type>.avsc: is it the right folder?")
    for folder in folders:
        if not folder.name.isidentifier() or keyword.iskeyword(folder.name):
            raise ConfigurationError(f"{folder}: a domain becomes a Python module; rename it so")
    return [_domain(folder) for folder in folders]


def _domain(folder: Path) -> Domain:
    try:
        return Domain(folder)
    except RecursionError as error:
        raise ConfigurationError(f"{folder}: types are nested too deep in each other") from error


def _named_types(schema: Any, file: Path) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] | None
    try:
        found = None if is_too_deep(schema) else list(definitions(qualified(schema)))
    except RecursionError:
        found = None
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{file} is no Avro schema: {error!r} is wrong") from error
    if found is None:
        raise ConfigurationError(
            f"{file} has types nested more than {MAX_DEPTH} deep: name the inner ones"
        )
    return found


def _json(file: Path) -> Any:
    try:
        schema = json.loads(file.read_text("utf-8"), parse_constant=_no_constant)
        json.dumps(schema, ensure_ascii=False).encode()  # half a surrogate pair cannot be written
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file} is not JSON: {error}") from error
    return schema


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _check(definition: Definition, complete: str) -> None:
    where = f"{definition.file}: {definition.name}"
    try:
        parsed = avro.parse(complete)
        fault = next(faults(json.loads(complete)), None)
    except (ValueError, TypeError, KeyError, SchemaParseException, UnknownType) as error:
        raise ConfigurationError(f"{where}: {error}") from error
    if fault is not None:
        raise ConfigurationError(f"{where}: {fault}")
    if avro.has_endless_array(parsed):
        raise ConfigurationError(f"{where} has an array of items that take no bytes")
