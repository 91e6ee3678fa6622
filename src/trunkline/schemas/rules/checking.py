"""Holds an expression against the schema of its value: fields that are not there, and types that
do not go together, are mistakes of whoever wrote it, and not of some event months later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.exact.logical import logical_of
from trunkline.schemas.personal import is_personal
from trunkline.schemas.rules.patterns import Search, search_of
from trunkline.schemas.rules.syntax import (
    Call,
    Compare,
    Items,
    Literal,
    Logic,
    Member,
    Name,
    Node,
    Not,
    RuleSyntaxError,
)

MISSING = object()
_NUMBERS = ("int", "double", "decimal")
_ORDERED = (*_NUMBERS, "string", "bytes", "timestamp", "date", "time")
_PLAIN = {
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "double",
    "double": "double",
    "string": "string",
    "enum": "string",
    "bytes": "bytes",
    "fixed": "bytes",
    "array": "list",
    "map": "map",
    "record": "record",
    "null": "null",
}
_LOGICAL = {
    "date": "date",
    "time-millis": "time",
    "time-micros": "time",
    "timestamp-millis": "timestamp",
    "timestamp-micros": "timestamp",
    "local-timestamp-millis": "local timestamp",
    "local-timestamp-micros": "local timestamp",
    "decimal": "decimal",
    "uuid": "uuid",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What an expression's value is. ``schema``: of a record, list or map; of any other None.
    ``nullable``: whether it may be null, too."""

    name: str
    nullable: bool = False
    schema: Any = None

    def __str__(self) -> str:
        article = "an" if self.name[0] in "aeiou" else "a"
        return f"a nullable {self.name}" if self.nullable else f"{article} {self.name}"


BOOL, INT, STRING = Kind("bool"), Kind("int"), Kind("string")


@dataclass(frozen=True, slots=True)
class Field(Member):
    """A record's field. ``default``: what a value that lacks it gets, MISSING if it must be there.
    ``personal``: whether it is tagged so, and shown to nobody."""

    default: Any = MISSING
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Matches(Node):
    """Whether a text has a part that matches a pattern."""

    of: Node
    search: Search


@dataclass(frozen=True, slots=True)
class Truth(Node):
    """A value that may be null, where true or false is needed."""

    of: Node


class Checker:
    """Checks the expressions of a type's rules. ``named``: the schema's types by their names."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named

    def rule(self, tree: Node, this: Any) -> Node:
        """The tree of a rule, made ready to be computed. ``this``: the schema of its value.

        Raises RuleSyntaxError."""
        return self._bool(tree, self.kind_of_schema(this))

    def kind_of_schema(self, schema: Any) -> Kind:
        """What a value of a schema is in an expression."""
        schema = self._named.get(schema, schema) if isinstance(schema, str) else schema
        name = avro.kind(schema)
        if name == "union":
            return self._union(schema)
        if logical_of(schema) is not None:
            logical = str(schema["logicalType"])
            return Kind(_LOGICAL.get(logical, logical))
        kind = _PLAIN.get(name, name)
        return Kind(kind, schema=schema if kind in ("list", "map", "record") else None)

    def _union(self, branches: list[Any]) -> Kind:
        kinds = [self.kind_of_schema(branch) for branch in branches]
        others = [kind for kind in kinds if kind.name != "null"]
        nullable = len(others) < len(kinds)
        if not others:
            return Kind("null")
        if len({kind.name for kind in others}) > 1 or (len(others) > 1 and others[0].schema):
            return Kind("union", nullable)
        return replace(others[0], nullable=nullable)

    def _of(self, node: Node, this: Kind) -> tuple[Kind, Node]:
        """The kind of a part, and the part made ready."""
        match node:
            case Name(_, name):
                return (this if name == "this" else Kind("timestamp")), node
            case Literal(_, value):
                return _of_literal(value), node
            case Items():
                return self._items(node, this)
            case Member():
                return self._member(node, this)
            case Call():
                return self._call(node, this)
            case Not(at, of):
                return BOOL, Not(at, self._bool(of, this))
            case Logic(at, sign, parts):
                return BOOL, Logic(at, sign, tuple(self._bool(part, this) for part in parts))
            case Compare(sign="in"):
                return BOOL, self._in(node, this)
            case Compare():
                return BOOL, self._compare(node, this)
        raise AssertionError(f"no part of an expression: {node}")

    def _bool(self, node: Node, this: Kind) -> Node:
        kind, ready = self._of(node, this)
        if kind.name != "bool":
            raise RuleSyntaxError(node.at, f"this is {kind}, and true or false is needed")
        return Truth(node.at, ready) if kind.nullable else ready

    def _items(self, node: Items, this: Kind) -> tuple[Kind, Node]:
        found = [self._of(item, this) for item in node.items]
        for (kind, ready), item in zip(found, node.items, strict=True):
            if not isinstance(ready, Literal) or kind.name == "null":
                raise RuleSyntaxError(item.at, "a list holds texts, numbers, true and false")
            if not _alike(kind, found[0][0]):
                raise RuleSyntaxError(item.at, f"the list has {found[0][0]}, and here {kind}")
        inner = found[0][0].name if found else "null"
        return Kind("list", schema=Kind(inner)), Items(node.at, tuple(r for _, r in found))

    def _member(self, node: Member, this: Kind) -> tuple[Kind, Node]:
        of, ready = self._of(node.of, this)
        if of.name == "map":
            return self.kind_of_schema(of.schema["values"]), Member(node.at, ready, node.name)
        if of.name != "record":
            raise RuleSyntaxError(node.at, f"{of} has no member {node.name}")
        for field in of.schema["fields"]:
            if field["name"] == node.name:
                default = field.get("default", MISSING)
                made = Field(node.at, ready, node.name, default, is_personal(field))
                return self.kind_of_schema(field["type"]), made
        there = ", ".join(field["name"] for field in of.schema["fields"][:20])
        raise RuleSyntaxError(
            node.at, f"{of.schema['name']} has no field {node.name}; it has {there}"
        )

    def _call(self, node: Call, this: Kind) -> tuple[Kind, Node]:
        of, ready = self._of(node.of, this)
        if node.name == "has":
            if isinstance(ready, Field):
                raise RuleSyntaxError(
                    node.at,
                    f"a record has each of its fields, null or not: write {told(node.of)} != null",
                )
            return BOOL, Call(node.at, "has", ready)
        if node.name == "size":
            if of.name not in ("string", "bytes", "list", "map"):
                raise RuleSyntaxError(node.at, f"{of} has no size")
            return INT, Call(node.at, "size", ready)
        argument, text = self._of(node.arguments[0], this)
        if of.name != "string" or argument.name != "string":
            wrong = of if of.name != "string" else argument
            raise RuleSyntaxError(node.at, f"{node.name}() is of strings, and this is {wrong}")
        if node.name == "matches":
            return BOOL, Matches(node.at, ready, _pattern(text))
        return BOOL, Call(node.at, node.name, ready, (text,))

    def _compare(self, node: Compare, this: Kind) -> Node:
        (left, one), (right, other) = self._of(node.left, this), self._of(node.right, this)
        if "null" in (left.name, right.name):
            value = right if left.name == "null" else left
            if node.sign not in ("==", "!="):
                raise RuleSyntaxError(node.at, f"null is not ordered: {node.sign}")
            if not (value.nullable or value.name == "null"):
                raise RuleSyntaxError(node.at, f"{value} is never null")
            return Compare(node.at, node.sign, one, other)
        if not _alike(left, right):
            mixed = {left.name, right.name} == {"int", "double"}
            why = ": not every CEL compares them; a double is written 1.0" if mixed else ""
            raise RuleSyntaxError(node.at, f"{left} and {right} cannot be compared{why}")
        ordered = node.sign not in ("==", "!=")
        if left.name not in _ORDERED and (ordered or left.name not in _EQUATED):
            raise RuleSyntaxError(node.at, f"{left} cannot be compared with {node.sign}")
        if "decimal" in (left.name, right.name):
            one, other = _as_decimal(one), _as_decimal(other)
        return Compare(node.at, node.sign, one, other)

    def _in(self, node: Compare, this: Kind) -> Node:
        (left, one), (right, other) = self._of(node.left, this), self._of(node.right, this)
        if right.name == "map":
            inner = STRING
        elif right.name == "list":
            of = right.schema
            inner = of if isinstance(of, Kind) else self.kind_of_schema(of["items"])
        else:
            raise RuleSyntaxError(node.at, f"in looks into a list or a map, and this is {right}")
        if inner.name == "null":
            return Compare(node.at, "in", one, other)  # an empty list, in which nothing is
        if not _alike(left, inner) or left.name not in (*_ORDERED, *_EQUATED):
            raise RuleSyntaxError(node.at, f"{left} is never in {right} of {inner}")
        if left.name == "decimal" and isinstance(other, Items):
            other = Items(other.at, tuple(map(_as_decimal, other.items)))
        return Compare(node.at, "in", one, other)


_EQUATED = ("bool", "uuid", "local timestamp")


def _alike(one: Kind, other: Kind) -> bool:
    """Whether values of both can be compared. Those of a union, a list or a record are not, as each
    implementation of CEL does it otherwise; nor is an int with a double, for which cel-python
    fails. CEL itself has no decimals: theirs are compared with any number that is written out."""
    if "decimal" in (one.name, other.name):
        return one.name in _NUMBERS and other.name in _NUMBERS
    return one.name == other.name and one.name in (*_ORDERED, *_EQUATED)


def _of_literal(value: Any) -> Kind:
    if value is None:
        return Kind("null")
    return {bool: BOOL, int: INT, float: Kind("double"), str: STRING}[type(value)]


def _as_decimal(node: Node) -> Node:
    """A number that is compared with a decimal is the decimal that is written, and not the double
    next to it."""
    if isinstance(node, Literal) and isinstance(node.value, float):
        return Literal(node.at, Decimal(node.text), node.text)
    return node


def _pattern(text: Node) -> Search:
    if not isinstance(text, Literal):
        raise RuleSyntaxError(text.at, "matches() takes a text that is written out")
    try:
        return search_of(text.value)
    except ValueError as error:
        raise RuleSyntaxError(text.at, f"no pattern of RE2: {error}") from None


def told(node: Node) -> str:
    """A path as it is written: ``this.labels.colour``."""
    if isinstance(node, Member):
        return f"{told(node.of)}.{node.name}"
    return node.name if isinstance(node, Name) else "…"
