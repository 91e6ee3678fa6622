"""Schemas of OpenAPI 3.0 and 3.1 as JSON Schema 2020-12: one form for validation, types and export.

What 3.0 says otherwise (``nullable``, ``exclusiveMinimum: true``, siblings of ``$ref`` that mean
nothing) becomes what 2020-12 has for it. Documents mix both forms whatever version they name, and
where a form has one meaning only it is taken in either. Of its own result it makes the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trunkline.openapi.document import Document, Unusable
from trunkline.openapi.patterns import pattern_problem
from trunkline.openapi.reading import Pointer

PREFIX = "#/components/schemas/"
_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_ONE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_ONE_MORE = ("unevaluatedItems", "unevaluatedProperties")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas")
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
"""What is asked of the same value: a reference to itself through these never ends."""
_NUMBERS = ("multipleOf", "maximum", "minimum")
_COUNTS = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
_COUNTS_MORE = ("maxContains", "minContains")
_FLAGS = ("readOnly", "writeOnly", "deprecated")
_TEXTS = ("title", "description", "format", "contentEncoding", "contentMediaType")
_REFUSED = ("$id", "$dynamicRef", "$recursiveRef")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class Definition:
    """A schema that others refer to. ``refers``: the names that it refers to; ``in_place``: those
    of them that are asked of the same value; ``problem``: why it cannot be used, or None."""

    __slots__ = ("in_place", "problem", "refers", "schema")

    def __init__(self) -> None:
        self.schema: Any = True
        self.refers: set[str] = set()
        self.in_place: set[str] = set()
        self.problem: Unusable | None = None


class Schemas:
    """The schemas of a document, converted once each."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._old = document.version.startswith("3.0")
        self._names: dict[Pointer, str] = {}
        self._definitions: dict[str, Definition] = {}
        self._waiting: list[tuple[Pointer, str]] = []
        self._sound: set[str] = set()

    def converted(self, schema: Any, at: Pointer) -> tuple[Any, set[str]]:
        """A schema that stands at a pointer, and the names of the definitions that it refers to.
        Raises Unusable."""
        into = Definition()
        made = _Conversion(self, into).of(schema, at, True)
        self._convert_waiting()
        return made, into.refers

    def closure(self, names: Iterable[str]) -> dict[str, Any]:
        """The schemas of these names and of all that they refer to. Raises Unusable for the first
        of them that cannot be used."""
        found: dict[str, Any] = {}
        waiting = sorted(names, reverse=True)
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            definition = self._definitions[name]
            if definition.problem is not None:
                raise definition.problem
            found[name] = definition.schema
            waiting += sorted(definition.refers - found.keys(), reverse=True)
        return dict(sorted(found.items()))

    def definition(self, name: str) -> Any:
        """The schema of a name, as it was converted."""
        return self._definitions[name].schema

    def require(self, names: Iterable[str]) -> None:
        """Raises Unusable for the first of these definitions, and of all that they refer to, that
        cannot be used."""
        seen: set[str] = set()
        waiting = [name for name in sorted(names, reverse=True) if name not in self._sound]
        while waiting:
            name = waiting.pop()
            if (problem := self._definitions[name].problem) is not None:
                raise problem
            seen.add(name)
            waiting += sorted(self._definitions[name].refers - seen - self._sound, reverse=True)
        self._sound |= seen

    def name_of(self, at: Pointer) -> str:
        """The name of the definition that stands there, which is converted later."""
        if at not in self._names:
            last = at[2:] if at[:2] == ("components", "schemas") else at
            wanted = _NAME.sub("_", ".".join(last)) or "root"
            name, count = wanted, 1
            while name in self._definitions:
                count += 1
                name = f"{wanted}_{count}"
            self._names[at] = name
            self._definitions[name] = Definition()
            self._waiting.append((at, name))
        return self._names[at]

    @property
    def siblings_count(self) -> bool:
        """Whether what stands beside a reference is asked for, too."""
        return not self._old

    def refers(self, reference: Any, at: Pointer) -> str:
        """The name of what a reference leads to. Raises Unusable."""
        _, to = self._document.target(reference, at)
        return self.name_of(to)

    def _convert_waiting(self) -> None:
        made = []
        while self._waiting:
            at, name = self._waiting.pop()
            definition = self._definitions[name]
            made.append(name)
            try:
                value = self._document.at(at)
                definition.schema = _Conversion(self, definition).of(value, at, True)
            except Unusable as problem:
                definition.problem = problem
        places = {name: at for at, name in self._names.items()}
        for name in self._endless(made):
            told = f"the schema {name} is itself, asked of the same value: it has no end"
            self._definitions[name].problem = Unusable(told, places[name])

    def _endless(self, names: Iterable[str]) -> Iterator[str]:
        """Those of these definitions that lead to themselves in place."""
        done: set[str] = set()
        for start in names:
            way: dict[str, Iterator[str]] = {}
            current: str | None = start
            while current is not None:
                if current not in way:
                    way[current] = iter(sorted(self._definitions[current].in_place))
                following = next(way[current], None)
                if following is None:
                    del way[current]
                    done.add(current)
                    current = next(reversed(way), None)
                elif following in way:
                    yield following
                elif following not in done:
                    current = following


class _Conversion:
    """The conversion of one schema; what it refers to is noted in ``into``."""

    def __init__(self, schemas: Schemas, into: Definition) -> None:
        self._schemas = schemas
        self._into = into

    def of(self, schema: Any, at: Pointer, in_place: bool) -> Any:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise Unusable("a schema is an object", at)
        for name in _REFUSED:
            if name in schema:
                raise Unusable(f"{name} is not supported", (*at, name))
        made: dict[str, Any] = {}
        if "$ref" in schema:
            name = self._schemas.refers(schema["$ref"], at)
            self._into.refers.add(name)
            if in_place:
                self._into.in_place.add(name)
            made["$ref"] = PREFIX + name
            if not self._schemas.siblings_count:
                return made
        self._values(schema, at, made)
        self._below(schema, at, in_place, made)
        _without_read_only(made)
        return _nullable(made) if schema.get("nullable") is True else made

    def _values(self, schema: Mapping[str, Any], at: Pointer, made: dict[str, Any]) -> None:
        """Keywords whose values are no schemas."""
        if (types := _types(schema.get("type"), at)) is not None:
            made["type"] = types
        for name in ("enum", "const", "default"):
            if name in schema:
                made[name] = schema[name]
        if not isinstance(made.get("enum", []), list):
            raise Unusable("enum is a list", (*at, "enum"))
        for names, kind, told in (
            (_NUMBERS, (int, float), "a number"),
            ((*_COUNTS, *_COUNTS_MORE), (int,), "a whole number from 0 on"),
            (("uniqueItems",), (bool,), "true or false"),
        ):
            for name in names:
                if name in schema:
                    made[name] = _value(schema[name], kind, told, (*at, name))
        # They describe, and nothing depends on them: one that is wrong is none.
        made |= {n: schema[n] for n in _FLAGS if isinstance(schema.get(n), bool)}
        made |= {n: schema[n] for n in _TEXTS if isinstance(schema.get(n), str)}
        if "multipleOf" in made and made["multipleOf"] <= 0:
            raise Unusable("multipleOf is more than 0", (*at, "multipleOf"))
        _exclusive(schema, at, made)
        if "pattern" in schema:
            pattern = made["pattern"] = _value(
                schema["pattern"], (str,), "a text", (*at, "pattern")
            )
            if problem := pattern_problem(pattern):
                raise Unusable(f"its pattern {problem}", (*at, "pattern"))
        if "required" in schema:
            made["required"] = _names(schema["required"], (*at, "required"))
        if "dependentRequired" in schema:
            told = _value(schema["dependentRequired"], (dict,), "an object", at)
            made["dependentRequired"] = {n: _names(v, at) for n, v in told.items()}

    def _below(
        self, schema: Mapping[str, Any], at: Pointer, in_place: bool, made: dict[str, Any]
    ) -> None:
        """Keywords whose values are schemas."""
        for name in (*_ONE, *_ONE_MORE):
            if name in schema:
                inside = in_place and name in _IN_PLACE
                made[name] = self.of(schema[name], (*at, name), inside)
        for name in _SEVERAL:
            if name not in schema:
                continue
            several = _value(schema[name], (list,), "a list of schemas", (*at, name))
            if several:
                inside = in_place and name in _IN_PLACE
                made[name] = [
                    self.of(one, (*at, name, str(n)), inside) for n, one in enumerate(several)
                ]
        for name in _NAMED:
            if name not in schema:
                continue
            named = _value(schema[name], (dict,), "an object of schemas", (*at, name))
            for key in named if name == "patternProperties" else ():
                if problem := pattern_problem(key):
                    raise Unusable(f"its pattern {problem}", (*at, name, key))
            inside = in_place and name in _IN_PLACE
            made[name] = {key: self.of(one, (*at, name, key), inside) for key, one in named.items()}


def _types(said: Any, at: Pointer) -> Any:
    """The types; a ``null`` without its quotes is none in YAML, and means the same."""
    if said is None:
        return None
    several = [
        "null" if one is None else one for one in (said if isinstance(said, list) else [said])
    ]
    for one in several:
        if one not in _TYPES:
            raise Unusable(f"{str(one)[:50]!r} is no type", (*at, "type"))
    if not several:
        return None
    several = list(dict.fromkeys(several))
    return several[0] if len(several) == 1 else several


def _value(value: Any, kinds: tuple[type, ...], told: str, at: Pointer) -> Any:
    right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if isinstance(value, float) and kinds == (int,) and value.is_integer():
        value, right = int(value), True
    if not right or (kinds == (int,) and value < 0):
        raise Unusable(f"{at[-1] if at else 'it'} is {told}", at)
    return value


def _names(value: Any, at: Pointer) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Unusable("required is a list of names", at)
    return list(dict.fromkeys(value))


def _exclusive(schema: Mapping[str, Any], at: Pointer, made: dict[str, Any]) -> None:
    """``exclusiveMinimum``, which is a number, and in 3.0 says of ``minimum`` that it is one."""
    for name, bound in (("exclusiveMaximum", "maximum"), ("exclusiveMinimum", "minimum")):
        said = schema.get(name)
        if said is True:
            if bound in made:
                made[name] = made.pop(bound)
        elif said is not None and said is not False:
            made[name] = _value(said, (int, float), "a number", (*at, name))


def _without_read_only(made: dict[str, Any]) -> None:
    """What only the system writes is not required of who asks."""
    properties = made.get("properties", {})
    required = [
        name
        for name in made.get("required", ())
        if not (isinstance(properties.get(name), dict) and properties[name].get("readOnly"))
    ]
    made.pop("required", None)
    if required:
        made["required"] = required


def _nullable(made: dict[str, Any]) -> dict[str, Any]:
    """3.0's ``nullable``: with a type null is one more, without one it is another branch."""
    enum = made.get("enum")
    if enum is not None and None not in enum:
        made["enum"] = [*enum, None]
    types = made.get("type")
    if types is not None:
        several = types if isinstance(types, list) else [types]
        if "null" not in several:
            made["type"] = [*several, "null"]
        return made
    if not ({"allOf", "anyOf", "oneOf", "not", "const", "$ref"} & made.keys()):
        return made
    told: dict[str, Any] = {
        n: made.pop(n) for n in ("title", "description", "default") if n in made
    }
    return {"anyOf": [made, {"type": "null"}], **told}
