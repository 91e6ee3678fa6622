"""One function for the rules of a type: it generates what lets values that obey pass, and leaves
the others to what computes each rule step by step and tells all that they break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trunkline.errors import Violation
from trunkline.schemas import avro
from trunkline.schemas.compiled.source import LEAVE, NotGenerated, Source
from trunkline.schemas.exact.unfit import Unfit
from trunkline.schemas.exact.write import Writers
from trunkline.schemas.personal import HIDDEN, is_personal
from trunkline.schemas.rules.checking import Field, Matches, Truth
from trunkline.schemas.rules.declared import Rule
from trunkline.schemas.rules.evaluate import NotComputable, evaluate
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
)

Check = Callable[[Any], Sequence[Violation]]
"""What a value that fits its schema violates; empty if nothing."""
MAX_VIOLATIONS = 100
"""Violations of one value that are told: a list of a million items may break a rule a million
times."""
MAX_SHOWN = 60
"""Characters of a value that a message shows."""


def check_of(parsed: Any, rules: Mapping[str, Sequence[Rule]]) -> Check | None:
    """The function for the values of a parsed schema; ``rules``: those of its records. None if
    there are none. May be used by any number of threads."""
    if not rules:
        return None
    walk = _Walk(parsed, rules)
    source = Source(TRUTH={True: True, False: False}, utcnow=_utcnow, none=())
    try:
        _Passing(source, walk).add(parsed)
    except NotGenerated:
        return walk.violations
    source.add("return none")
    return source.function("d", walk.violations)


def _utcnow() -> datetime:
    return datetime.now(UTC)


class _Walk:
    """Goes through a value and computes the rules of each record in it."""

    def __init__(self, parsed: Any, rules: Mapping[str, Sequence[Rule]]) -> None:
        self._parsed = parsed
        self.named = avro.named_types(parsed)
        self.rules = rules
        self._writers = Writers(parsed)
        self._ruled: dict[int, bool] = {}  # of parts of the schema, which live as long as this

    def violations(self, value: Any) -> list[Violation]:
        """All that a value violates, up to MAX_VIOLATIONS."""
        found: list[Violation] = []
        for one in self._of(self._parsed, value, "", False, _utcnow()):
            found.append(one)
            if len(found) == MAX_VIOLATIONS:
                break
        return found

    def named_type(self, schema: Any) -> Any:
        """The schema itself where only its name stands."""
        return self.named.get(schema, schema) if isinstance(schema, str) else schema

    def has_rules(self, schema: Any) -> bool:
        """Whether there is a rule in a schema, however deep."""
        schema = self.named_type(schema)
        if isinstance(schema, str):
            return False
        known = self._ruled.get(id(schema))
        if known is None:
            inside = _records_in(schema, self.named, set())
            known = self._ruled[id(schema)] = any(node["name"] in self.rules for node in inside)
        return known

    def _of(
        self, schema: Any, value: Any, path: str, hidden: bool, now: datetime
    ) -> Iterator[Violation]:
        """``hidden``: whether the value is in a field that is tagged as personal."""
        schema = self.named_type(schema)
        if value is None:
            return
        match avro.kind(schema):
            case "union":
                if (branch := self._branch(schema, value)) is not None:
                    yield from self._of(branch, value, path, hidden, now)
            case "array":
                for index, item in enumerate(value):
                    yield from self._of(schema["items"], item, f"{path}[{index}]", hidden, now)
            case "map":
                for key, item in value.items():
                    shown = HIDDEN if hidden else _cut(repr(key))
                    yield from self._of(schema["values"], item, f"{path}[{shown}]", hidden, now)
            case "record":
                yield from self._record(schema, value, path, hidden, now)

    def _branch(self, branches: list[Any], value: Any) -> Any:
        """The branch that a value is written as: the one that takes it."""
        records = [b for b in branches if b != "null" and self.has_rules(b)]
        if len(branches) - ("null" in branches) == 1:
            return records[0] if records else None
        for branch in records:
            try:
                self._writers.of(branch)(value)
            except (Unfit, TypeError, ValueError, LookupError):
                continue
            return branch
        return None

    def _record(
        self, schema: Any, value: Any, path: str, hidden: bool, now: datetime
    ) -> Iterator[Violation]:
        rules = self.rules.get(schema["name"], ())
        for rule in rules:
            if not rule.field:
                yield from self._broken(rule, value, path, hidden, now)
        for field in schema["fields"]:
            inner = value.get(field["name"], field.get("default"))
            if inner is None:
                continue
            place = f"{path}.{field['name']}" if path else field["name"]
            secret = hidden or is_personal(field)
            for rule in rules:
                if rule.field == field["name"]:
                    yield from self._broken(rule, inner, place, secret, now)
            if self.has_rules(field["type"]):
                yield from self._of(field["type"], inner, place, secret, now)

    def _broken(
        self, rule: Rule, this: Any, path: str, hidden: bool, now: datetime
    ) -> Iterator[Violation]:
        must = rule.doc or f"must be {rule.expression}"
        try:
            if evaluate(rule.tree, this, now):
                return
        except NotComputable as error:
            must = f"{must}; it cannot be computed: {error}"
        seen = dict(_seen(rule.tree, this, path, hidden, now))
        where = ", ".join(seen) or path
        shown = ", ".join(f"{place} = {value}" for place, value in seen.items() if place)
        yield Violation(rule.name, where, f"{must} ({shown})" if shown else must)


def _seen(
    node: Node, this: Any, path: str, hidden: bool, now: datetime
) -> Iterator[tuple[str, str]]:
    """The paths that an expression looks at, with what is there."""
    if isinstance(node, Name | Member):
        if (place := _path(node, path)) is not None:
            secret = hidden or any(one.personal for one in _chain(node))
            yield place, HIDDEN if secret else _at(node, this, now)
        return
    for child in _children(node):
        yield from _seen(child, this, path, hidden, now)


def _chain(node: Node) -> Iterator[Field]:
    while isinstance(node, Member):
        if isinstance(node, Field):
            yield node
        node = node.of


def _path(node: Node, path: str) -> str | None:
    if isinstance(node, Member):
        of = _path(node.of, path)
        return None if of is None else f"{of}.{node.name}" if of else node.name
    return path if isinstance(node, Name) and node.name == "this" else None


def _at(node: Node, this: Any, now: datetime) -> str:
    try:
        value = evaluate(node, this, now)
    except NotComputable:
        return "nothing"
    if value is None:
        return "null"
    if isinstance(value, Mapping | list | tuple | bytes):
        return f"{len(value)} bytes" if isinstance(value, bytes) else f"{len(value)} items"
    if isinstance(value, datetime):
        return value.isoformat()
    return _cut(repr(value) if isinstance(value, str) else str(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Logic(_, _, parts):
            return parts
        case Compare(_, _, left, right):
            return left, right
        case Call(_, _, of, arguments):
            return of, *arguments
        case Not(_, of) | Truth(_, of) | Matches(_, of):
            return (of,)
    return ()


def _records_in(schema: Any, named: dict[str, Any], seen: set[str]) -> Iterator[Any]:
    """The records in a schema, each once, those that are only named, too."""
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, dict) and "name" in schema:
        if schema["name"] in seen:
            return
        seen.add(schema["name"])
        if "fields" in schema:
            yield schema
    for child in avro.children(schema):
        yield from _records_in(child, named, seen)


class _Passing:
    """The source that returns where all rules are obeyed. What it is not sure of it leaves."""

    def __init__(self, source: Source, walk: _Walk) -> None:
        self._source = source
        self._walk = walk
        self._inside: list[str] = []

    def add(self, parsed: Any) -> None:
        """Add all that a value ``d`` of the schema is asked."""
        trees = [rule.tree for rules in self._walk.rules.values() for rule in rules]
        if any(isinstance(n, Name) and n.name == "now" for tree in trees for n in _nodes(tree)):
            self._source.add("now = utcnow()")
        self._value(parsed, "d")

    def _value(self, schema: Any, of: str) -> None:
        schema = self._walk.named_type(schema)
        if not self._walk.has_rules(schema):
            return
        match avro.kind(schema):
            case "union":
                branches = [branch for branch in schema if branch != "null"]
                with self._source.block(f"if {of} is not None:"):
                    if len(branches) == 1:
                        self._value(branches[0], of)
                    else:  # which of them it is only its writer knows
                        self._source.add(LEAVE)
            case "array" | "map" as kind:
                item, items = self._source.name(), of if kind == "array" else f"{of}.values()"
                with self._source.block(f"for {item} in {items}:"):
                    self._value(schema["items" if kind == "array" else "values"], item)
            case _:
                self._record(schema, of)

    def _record(self, schema: Any, of: str) -> None:
        name = schema["name"]
        if name in self._inside:  # it contains itself, to any depth
            self._source.add(LEAVE)
            return
        self._inside.append(name)
        rules = self._walk.rules.get(name, ())
        for rule in rules:
            if not rule.field:
                self._require(rule.tree, of)
        for field in schema["fields"]:
            own = [rule.tree for rule in rules if rule.field == field["name"]]
            if own or self._walk.has_rules(field["type"]):
                value = self._source.name()
                self._source.add(f"{value} = {of}[{field['name']!r}]")
                if own:
                    with self._source.block(f"if {value} is not None:"):
                        for tree in own:
                            self._require(tree, value)
                self._value(field["type"], value)
        self._inside.pop()

    def _require(self, tree: Node, this: str) -> None:
        self._source.add(f"if not {self._expression(tree, this)}: {LEAVE}")

    def _expression(self, node: Node, this: str) -> str:
        """Python's expression. Each part of it raises one of UNUSUAL where CEL fails, or returns
        the same."""

        def of(part: Node) -> str:
            return self._expression(part, this)

        match node:
            case Literal(_, value):
                return self._literal(value)
            case Name(_, name):
                return this if name == "this" else "now"
            case Items(_, items):
                return self._source.constant(tuple(evaluate(i, None, _NEVER) for i in items))
            case Member(_, inner, name):
                return f"{of(inner)}[{name!r}]"
            case Not(_, inner):
                return f"(not {of(inner)})"
            case Truth(_, inner):
                return f"TRUTH[{of(inner)}]"
            case Logic(_, sign, parts):
                return f"({(' or ' if sign == '||' else ' and ').join(map(of, parts))})"
            case Compare(_, sign, left, right):
                return self._comparison(sign, left, right, of)
            case Matches(_, inner, search):
                return f"({self._source.constant(search)}({of(inner)}) is not None)"
            case Call(_, "has", Member(_, inner, name)):
                return f"({name!r} in {of(inner)})"
            case Call(_, "size", inner):
                return f"len({of(inner)})"
            case Call(_, "contains", inner, (part,)):
                return f"({of(part)} in {of(inner)})"
            case Call(_, name, inner, (part,)):
                return f"{of(inner)}.{name.lower()}({of(part)})"
        raise AssertionError(f"no part of an expression: {node}")

    def _literal(self, value: Any) -> str:
        if isinstance(value, bool | int | str) or value is None:
            return f"({value!r})" if type(value) is int else repr(value)
        return self._source.constant(value)

    def _comparison(self, sign: str, left: Node, right: Node, of: Callable[[Node], str]) -> str:
        one, other = of(left), of(right)
        if sign == "in" and isinstance(right, Items):
            values = frozenset(evaluate(item, None, _NEVER) for item in right.items)
            return f"({one} in {self._source.constant(values)})"
        if "None" in (one, other):
            sign = {"==": "is", "!=": "is not"}[sign]
        return f"({one} {sign} {other})"


_NEVER = datetime.min.replace(tzinfo=UTC)
"""The ``now`` of what has none in it."""


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Member):
        yield from _nodes(node.of)
    for child in _children(node):
        yield from _nodes(child)
