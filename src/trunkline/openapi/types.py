"""Python types of a document's requests and answers: TypedDicts for routes, tests and callers."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterable, Mapping
from typing import Any

from trunkline.openapi.api import Api, ApiOperation
from trunkline.openapi.naming import class_name
from trunkline.openapi.schemas import PREFIX

MADE = "made by `trunkline operations import`"
MAX_LITERALS = 60
"""Values that a Literal names; of more it is their type."""
_PLAIN = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}
_HEAD = '''"""The types of {title}, {made}:
import it again, do not change this file."""

# ruff: noqa
# mypy: disable-error-code="explicit-any"

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict
'''
_TAKEN = {"Any", "Literal", "NotRequired", "TypeAlias", "TypedDict", "None", "True", "False"}


def types_of(api: Api, chosen: Iterable[ApiOperation]) -> str:
    """The text of a module with a TypedDict for the request of each operation (``createOrder`` has
    ``CreateOrder``), for its answer (``CreateOrderReply``), and for what both refer to."""
    return _Module(api).text([*chosen])


class _Module:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._names: dict[str, str] = {}
        self._taken: set[str] = set(_TAKEN)
        self._parts: list[str] = []

    def text(self, chosen: list[ApiOperation]) -> str:
        roots = [(one, self._free(class_name(one.name))) for one in chosen]
        refers = {name for one in chosen for name in (*one.refers, *one.reply_refers)}
        definitions = self._api.schemas.closure(refers)
        for name in definitions:
            self._names[name] = self._free(class_name(name))
        for operation, name in roots:
            self._named(name, operation.request, operation.summary)
            good = [one for one in operation.replies.values() if one is not None]
            if good:
                schema = good[0] if len(good) == 1 else {"anyOf": good}
                self._named(self._free(f"{name}Reply"), schema, "")
        for name, schema in definitions.items():
            told = schema.get("description", "") if isinstance(schema, dict) else ""
            self._named(self._names[name], schema, told)
        title = json.dumps(self._api.title or "an API", ensure_ascii=False)[1:-1]
        head = _HEAD.format(title=title.replace('\\"', "'").replace("\\", ""), made=MADE)
        return head + "".join(self._parts)

    def _free(self, wanted: str) -> str:
        name, count = f"{wanted}_" if keyword.iskeyword(wanted) else wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}{count}"
        self._taken.add(name)
        return name

    def _named(self, name: str, schema: Any, told: str) -> None:
        place = len(self._parts)
        if (members := self._members(schema)) is not None:
            self._parts.insert(place, self._class(name, members, told))
        else:
            self._parts.insert(
                place, f"\n\n{name}: TypeAlias = {_quoted(self._type(schema, name))}\n"
            )

    def _members(self, schema: Any) -> tuple[dict[str, Any], set[str]] | None:
        """Properties and required names of what is an object with named members alone."""
        if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
            return None
        if schema.get("anyOf") or schema.get("oneOf") or "$ref" in schema:
            return None
        properties, required = {**schema.get("properties", {})}, {*schema.get("required", ())}
        for part in schema.get("allOf", ()):
            inner = self._members(self._target(part))
            if inner is None:
                return None
            properties, required = {**inner[0], **properties}, required | inner[1]
        return (properties, required) if properties else None

    def _target(self, schema: Any, hops: int = 20) -> Any:
        while isinstance(schema, dict) and "$ref" in schema and hops:
            name = schema["$ref"].removeprefix(PREFIX)
            schema, hops = self._api.schemas.definition(name), hops - 1
        return schema

    def _class(self, name: str, members: tuple[dict[str, Any], set[str]], told: str) -> str:
        properties, required = members
        fields = {}
        for key, schema in properties.items():
            kind = self._type(schema, f"{name}{class_name(key)}")
            fields[key] = kind if key in required else f"NotRequired[{kind}]"
        summary = " ".join(told.split())[:200].replace("\\", "").replace('"', "'").strip()
        if all(key.isidentifier() and not _is_odd(key) for key in fields):
            doc = f'    """{summary}"""\n\n' if summary else ""
            body = "".join(f"    {key}: {kind}\n" for key, kind in fields.items())
            return f"\n\nclass {name}(TypedDict):\n{doc}{body}"
        body = "".join(f"        {json.dumps(k)}: {_quoted(v)},\n" for k, v in fields.items())
        return f'\n\n{name} = TypedDict(\n    "{name}",\n    {{\n{body}    }},\n)\n'

    def _type(self, schema: Any, name: str) -> str:
        """The annotation of a schema; ``name``: of a class that it may need."""
        if not isinstance(schema, Mapping):
            return "Any"
        if "$ref" in schema:
            return self._names.get(schema["$ref"].removeprefix(PREFIX), "Any")
        if "const" in schema:
            return _literal([schema["const"]])
        if "enum" in schema:
            return _literal(schema["enum"])
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self._union(schema[several], name)
        if self._members(schema) is not None:
            own = self._free(name)
            self._named(own, schema, schema.get("description", ""))
            return own
        types = schema.get("type")
        if isinstance(types, list):
            return self._union([{**schema, "type": one} for one in types], name)
        if types == "array":
            return f"list[{self._type(schema.get('items', True), f'{name}Item')}]"
        if types == "object":
            return (
                f"dict[str, {self._type(schema.get('additionalProperties', True), f'{name}Value')}]"
            )
        return _PLAIN.get(str(types), "Any")

    def _union(self, several: Iterable[Any], name: str) -> str:
        found = list(dict.fromkeys(self._type(one, name) for one in several))
        if "Any" in found:
            return "Any"
        return " | ".join(
            [*(one for one in found if one != "None"), *(["None"] if "None" in found else [])]
        )


def _literal(values: list[Any]) -> str:
    kinds = {type(one) for one in values}
    if not kinds <= {str, int, bool, type(None)}:
        return "Any"
    if len(values) > MAX_LITERALS:
        names = {str: "str", int: "int", bool: "bool", type(None): "None"}
        return " | ".join(sorted((names[kind] for kind in kinds), key=lambda n: n == "None"))
    return f"Literal[{', '.join(dict.fromkeys(ascii(one) for one in values))}]" if values else "Any"


def _is_odd(key: str) -> bool:
    """What a class body would change: keywords, and names that Python makes private."""
    return keyword.iskeyword(key) or key.startswith("__") or not key.isascii()


def _quoted(annotation: str) -> str:
    """Quoted: it may name a class that comes later."""
    return json.dumps(annotation) if '"' not in annotation else repr(annotation)
