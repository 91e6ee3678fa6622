"""Writes a domain's types as a Python module, in the form that ruff format gives it."""

from __future__ import annotations

import json
import keyword
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.logical import logical_of
from trunkline.schemas.generate.sources import Definition, Domain, python_name

GENERATED = "by `trunkline schemas generate`"
WIDTH = 100
PRIMITIVE = {
    "null": "None",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "fixed": "bytes",
    "string": "str",
}
HIDING = {*PRIMITIVE.values(), "list", "dict", "datetime", "decimal", "uuid"}
"""Names that a class could not use for types if its fields had them."""


def module(domain: Domain, source: str) -> str:
    """The text of the module of a domain. ``source``: the folder's name, for the reader."""
    records = [type_ for type_ in domain.types.values() if type_.schema["type"] == "record"]
    aliases = [_alias(type_) for type_ in domain.types.values() if type_ not in records]
    blocks = [f"{_record(record)}\n\n{_avro_type(record, domain)}" for record in records]
    head = (
        f'"""The types of {domain.name}, made {GENERATED}:\n'
        f'change {source}/{domain.name}, not this file."""\n'
    )
    body = "\n\n".join(["\n".join(aliases), *blocks] if aliases else blocks)
    body = f"\n{body}" if body.startswith("class") else body
    start = "from __future__ import annotations\n"
    return "\n".join([head, *_lint(body, records), start, *_imports(domain), "", body])


def _alias(type_: Definition) -> str:
    """An enum or a fixed."""
    if type_.schema["type"] == "fixed":
        return f"{type_.python} = {_plain(type_.schema)}\n{_doc(type_.schema, '')}"
    return _enum(type_)


def _record(record: Definition) -> str:
    return _functional(record) if _clashes(record) else _class(record)


def _enum(definition: Definition) -> str:
    symbols = [_json(symbol) for symbol in definition.schema["symbols"]]
    line = f"{definition.python} = Literal[{', '.join(symbols)}]"
    if len(line) > WIDTH:
        line = f"{definition.python} = Literal[\n    " + ",\n    ".join(symbols) + ",\n]"
    return f"{line}\n{_doc(definition.schema, '')}"


def _class(definition: Definition) -> str:
    fields = [
        f"    {field['name']}: {annotation(field['type'])}\n{_doc(field, '    ')}"
        for field in definition.schema["fields"]
    ]
    doc = _doc(definition.schema, "    ")
    body = (doc + "\n" if doc and fields else doc) + "".join(fields)
    return f"class {definition.python}(TypedDict):\n{body or '    pass' + chr(10)}"


def _functional(definition: Definition) -> str:
    """A class cannot have a field named ``from``, or ``str`` and another one of that type."""
    fields = [
        f"        {_json(field['name'])}: {_json(annotation(field['type']))},\n"
        for field in definition.schema["fields"]
    ]
    name = definition.python
    head = f"{name} = TypedDict(\n    {_json(name)},\n    {{\n{''.join(fields)}    }},\n)\n"
    return head + _doc(definition.schema, "")


def _avro_type(definition: Definition, domain: Domain) -> str:
    """The schema in lines of its fields: people compare versions of this file."""
    schema = json.loads(domain.complete(definition))
    fields = ",\n".join(_json(field) for field in schema.pop("fields"))
    text = f'{_json(schema)[:-1]}, "fields": [\n{fields}\n]}}'
    return f'avro_type(\n    {definition.python},\n    r"""\n{text}\n""",\n)\n'


def annotation(schema: Any) -> str:
    """The Python type of an Avro type, as it is read."""
    match avro.kind(schema):
        case "union":
            return _union(schema)
        case "array":
            return f"list[{annotation(schema['items'])}]"
        case "map":
            return f"dict[str, {annotation(schema['values'])}]"
        case _ if isinstance(schema, dict) and "name" in schema:
            return python_name(schema["name"])
        case name:
            return _plain(schema) if name in PRIMITIVE else python_name(name)


def _plain(schema: Any) -> str:
    logical = logical_of(schema)
    return logical.python if logical else PRIMITIVE[avro.kind(schema)]


def _union(branches: list[Any]) -> str:
    types = list(dict.fromkeys(annotation(branch) for branch in branches))
    types.sort(key=lambda name: name == "None")  # stable: None goes last
    return " | ".join(types)


def _clashes(record: Definition) -> bool:
    names = {field["name"] for field in record.schema["fields"]}
    used = " ".join(annotation(field["type"]) for field in record.schema["fields"])
    private = any(name.startswith("__") for name in names)  # Python renames them in a class
    hides = names & (HIDING | set(re.findall(r"\w+", used)))
    return private or bool(hides) or _has_keyword(record)


def _has_keyword(record: Definition) -> bool:
    return any(keyword.iskeyword(field["name"]) for field in record.schema["fields"])


def _doc(described: dict[str, Any], indent: str) -> str:
    """The ``doc`` as a docstring below what it describes, or nothing."""
    text = " ".join(str(described.get("doc", "")).replace("\\", "\\\\").split())
    text = _escaped(text)
    if not text:
        return ""
    text = text.replace('"""', "'''")
    lines = textwrap.wrap(text, WIDTH - 8 - len(indent), break_long_words=False)
    before = " " if text.startswith('"') else ""  # as ruff format does
    after = " " if text.endswith('"') else ""
    return f'{indent}"""{before}' + f"\n{indent}".join(lines) + f'{after}"""\n'


def _json(value: Any) -> str:
    return _escaped(json.dumps(value, ensure_ascii=False))


def _escaped(text: str) -> str:
    """What cannot be seen, or not be in a file, as \\uXXXX: JSON and Python read it alike."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _imports(domain: Domain) -> Iterator[str]:
    schemas = [type_.schema for type_ in domain.types.values()]
    kinds = {schema["type"] for schema in schemas}
    fields = [field for schema in schemas for field in schema.get("fields", ())]
    used = " ".join(annotation(field["type"]) for field in fields)
    used += " ".join(_plain(schema) for schema in schemas if schema["type"] == "fixed")
    yield from (f"import {name}" for name in ("datetime", "decimal", "uuid") if f"{name}." in used)
    typing = {"enum": "Literal", "record": "TypedDict"}
    if names := [name for kind, name in typing.items() if kind in kinds]:
        yield f"from typing import {', '.join(names)}"
    if "record" in kinds:
        yield "\nfrom trunkline.schemas.types import avro_type"


def _lint(body: str, records: list[Definition]) -> Iterator[str]:
    rules = ["E501"] if any(len(line) > WIDTH for line in body.splitlines()) else []
    if any(_clashes(record) and not _has_keyword(record) for record in records):
        rules += ["UP013"]  # ruff sees that a class would do, not whose names it would hide
    if rules:
        yield f"# ruff: noqa: {', '.join(rules)}\n"
    if any(len(line) > WIDTH and re.match(r"    \w+: ", line) for line in body.splitlines()):
        yield "# fmt: off\n"  # a type that is longer than a line
