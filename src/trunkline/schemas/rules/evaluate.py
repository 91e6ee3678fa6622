"""Computes an expression step by step, with errors as CEL has them: ``a || b`` is true if b is,
although a fails."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trunkline.schemas.rules.checking import MISSING, Field, Matches, Truth, told
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

_SIGNS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class NotComputable(ValueError):
    """An expression has no value, as the size of null."""


def evaluate(node: Node, this: Any, now: datetime) -> Any:
    """The value of a part that ``Checker`` made ready. Raises NotComputable, whose text has no
    value of the event's."""
    match node:
        case Literal(_, value):
            return value
        case Name(_, name):
            return this if name == "this" else now
        case Items(_, items):
            return [evaluate(item, this, now) for item in items]
        case Not(_, of):
            return not evaluate(of, this, now)
        case Truth(_, of):
            value = evaluate(of, this, now)
            if value is None:
                raise NotComputable(f"{told(of)} is null")
            return value
        case Member():
            return _member(node, this, now)
        case Logic(_, sign, parts):
            return _logic(sign == "||", parts, this, now)
        case _:
            return _computed(node, this, now)


def _member(node: Member, this: Any, now: datetime) -> Any:
    of = evaluate(node.of, this, now)
    if not isinstance(of, Mapping):
        raise NotComputable(f"{told(node.of)} is null")
    if node.name in of:
        return of[node.name]
    default = node.default if isinstance(node, Field) else MISSING
    if default is MISSING:
        raise NotComputable(f"there is no {told(node)}")
    return default


def _logic(decisive: bool, parts: tuple[Node, ...], this: Any, now: datetime) -> bool:
    """The decisive value of any part decides; else what fails, fails."""
    failure: NotComputable | None = None
    for part in parts:
        try:
            value: bool = evaluate(part, this, now)
            if value is decisive:
                return decisive
        except NotComputable as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return not decisive


def _computed(node: Node, this: Any, now: datetime) -> Any:
    try:
        match node:
            case Compare(_, "in", left, right):
                return _contains(evaluate(right, this, now), evaluate(left, this, now))
            case Compare(_, sign, left, right):
                return _SIGNS[sign](evaluate(left, this, now), evaluate(right, this, now))
            case Matches(_, of, search):
                return search(_text(evaluate(of, this, now))) is not None
            case Call(_, "has", of):
                assert isinstance(of, Member)
                return of.name in evaluate(of.of, this, now)
            case Call(_, "size", of):
                return len(evaluate(of, this, now))
            case Call(_, name, of, (argument,)):
                return _of_text(name, evaluate(of, this, now), evaluate(argument, this, now))
    except (TypeError, ArithmeticError):
        # TypeError: null where a value is needed. ArithmeticError: an order of decimals with NaN.
        raise NotComputable(f"{_written(node)} of null") from None
    raise AssertionError(f"no part of an expression: {node}")


def _contains(there: Any, value: Any) -> bool:
    # Not ``in``: for Python a NaN is in the list that holds it.
    if isinstance(there, Mapping):
        return value in there
    return any(value == one for one in there)


def _of_text(name: str, text: Any, part: Any) -> bool:
    text, part = _text(text), _text(part)
    if name == "contains":
        return part in text
    return bool(text.startswith(part) if name == "startsWith" else text.endswith(part))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _written(node: Node) -> str:
    match node:
        case Compare():
            return node.sign
        case Call():
            return f"{node.name}()"
    return "matches()"
