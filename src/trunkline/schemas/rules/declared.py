"""The rules that a schema declares, as Confluent's clients read them: ``confluent:rules`` on a
record, where ``this`` is the record, or on a field, where ``this`` is its value, unless that is
null. A rule has a ``name``, a CEL expression ``expr`` and, if its author is kind, a ``doc``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trunkline.schemas import avro
from trunkline.schemas.rules.checking import Checker
from trunkline.schemas.rules.syntax import Node, RuleSyntaxError, parse

RULES = "confluent:rules"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
MAX_RULES = 200
"""Of a type, with those of the types in it: each is a value of a metric's label."""
_KEYS = {"name", "doc", "expr", "sql"}
"""``sql``: the same for other programs; not read here."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, ready to be computed. ``record``: the full name of the type that declares it;
    ``field``: whose value is ``this``, "" for the record itself."""

    name: str
    record: str
    field: str
    expression: str
    doc: str
    tree: Node


@dataclass(frozen=True, slots=True)
class RuleFault:
    """What is wrong with a rule. ``type``: the record that declares it; ``at``: the offset in its
    expression, None if it is not about that."""

    type: str
    field: str
    why: str
    expression: str = ""
    at: int | None = None

    def __str__(self) -> str:
        of = f"{self.type}.{self.field}" if self.field else self.type
        place = "" if self.at is None else f", character {self.at + 1} of {self.expression!r}"
        return f"a rule of {of}{place}: {self.why}"


def rules_of_records(parsed: Any) -> tuple[dict[str, list[Rule]], list[RuleFault]]:
    """The rules of each record in a parsed schema, by the record's full name, and what is wrong
    with others."""
    named = avro.named_types(parsed)
    checker = Checker(named)
    found: dict[str, list[Rule]] = {}
    faults: list[RuleFault] = []
    for record in named.values():
        for field, schema, entry in _entries(record):
            made = _rule(record["name"], field, schema, entry, checker)
            if isinstance(made, RuleFault):
                faults.append(made)
            else:
                found.setdefault(made.record, []).append(made)
    for name, rules in found.items():
        names = [rule.name for rule in rules]
        faults += [
            RuleFault(name, "", f"the name {twice} stands {names.count(twice)} times")
            for twice in dict.fromkeys(names)
            if names.count(twice) > 1
        ]
    if sum(map(len, found.values())) > MAX_RULES:
        faults.append(RuleFault(next(iter(found)), "", f"more than {MAX_RULES} rules"))
    return found, faults


def _entries(record: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each entry with the field that has it, "" for the record, and the schema of ``this``."""
    holders = [("", record, record)]
    holders += [(field["name"], field["type"], field) for field in record.get("fields", ())]
    for name, schema, holder in holders:
        entries = holder.get(RULES, [])
        for entry in entries if isinstance(entries, list) else [None]:
            yield name, schema, entry


def _rule(record: str, field: str, schema: Any, entry: Any, checker: Checker) -> Rule | RuleFault:
    if why := _misdeclared(entry):
        return RuleFault(record, field, why)
    try:
        tree = checker.rule(parse(entry["expr"]), _present(schema) if field else schema)
    except RuleSyntaxError as error:
        return RuleFault(record, field, str(error), entry["expr"], error.at)
    doc = " ".join(entry.get("doc", "").split())
    return Rule(entry["name"], record, field, entry["expr"], doc, tree)


def _misdeclared(entry: Any) -> str:
    """What is wrong with an entry, apart from its expression; "" if nothing."""
    texts = isinstance(entry, dict) and (entry.get("name"), entry.get("expr"), entry.get("doc", ""))
    if not texts or not all(isinstance(text, str) for text in texts):
        return f'"{RULES}" is a list of objects with the texts name, expr and perhaps doc'
    if unknown := sorted(entry.keys() - _KEYS):
        return f"{unknown[0]!r} is none of {', '.join(sorted(_KEYS))}"
    if not NAME.fullmatch(entry["name"]):
        return f"{entry['name'][:80]!r} is no name: letters, digits, _ . -, up to 64"
    return ""


def _present(schema: Any) -> Any:
    """A field's schema without null: of a field that is null no rule is asked."""
    if not isinstance(schema, list):
        return schema
    rest = [branch for branch in schema if branch != "null"]
    return rest[0] if len(rest) == 1 else rest
