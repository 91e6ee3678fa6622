"""``--where``: a condition on an event, as an expression in Python's syntax.

simpleeval evaluates it: it knows no assignment, no import and no names but those it is given. It is
evaluated for each event, in the event loop of the workers that route. So what an expression may
consist of is written down here, and each part of it costs at most in proportion to the event.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from simpleeval import SimpleEval

from trunkline.errors import SCHEMA_UNAVAILABLE, ConfigurationError
from trunkline.event import Event

NAMES = ("data", "key", "type", "headers")

MAX_LENGTH = 2_000
"""Characters of an expression."""
MAX_PARTS = 300
"""Names, values and operators of an expression."""
MAX_DEPTH = 30
"""How deep they may be nested: each level is some frames of Python's stack."""
MAX_DIGITS = 30
"""Digits that ``round`` rounds to. Case: ``round(10**300, -10**8)`` counts for hours."""
MAX_TEXT = 100_000
"""Characters of a text that ``+`` makes."""

_METHODS = frozenset(
    {"casefold", "count", "date", "endswith", "find", "isalnum", "isalpha", "isdigit"}
    | {"isoformat", "lower", "lstrip", "rstrip", "split", "startswith", "strip", "time"}
    | {"upper", "weekday"}
)
"""Methods that can be called. Not ``ljust``, ``format``, ``replace`` and the like: one call makes
gigabytes of a short text."""


def _rounded(number: Any, digits: int | None = None) -> Any:
    if digits is not None and abs(digits) > MAX_DIGITS:
        raise ValueError(f"round() to more than {MAX_DIGITS} digits")
    return round(number, digits)


def _added(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        if len(left) + len(right) > MAX_TEXT:
            raise ValueError(f"a text of more than {MAX_TEXT} characters")
        return left + right
    return _number(left) + _number(right)


def _subtracted(left: Any, right: Any) -> Any:
    if isinstance(left, date) and isinstance(right, date):  # days between two dates
        return left - right
    return _number(left) - _number(right)


def _number(value: Any) -> Any:
    """A number; not a text, of which ``*`` and ``%`` make another one of any length."""
    if isinstance(value, int | float | Decimal):
        return value
    raise TypeError(f"{type(value).__name__} is no number")


_FUNCTIONS = {"abs": abs, "float": float, "int": int, "len": len, "round": _rounded, "str": str}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _added,
    ast.Sub: _subtracted,
    ast.Mult: lambda left, right: _number(left) * _number(right),
    ast.Div: lambda left, right: _number(left) / _number(right),
    ast.Mod: lambda left, right: _number(left) % _number(right),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Not: operator.not_,
    ast.USub: lambda value: -_number(value),
    ast.UAdd: lambda value: +_number(value),
}
_KNOWN = (
    *_OPERATORS,
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.BinOp, ast.Compare, ast.IfExp),
    *(ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice, ast.Call),
    *(ast.List, ast.Tuple, ast.Set, ast.Load),
)


_CONSTANTS = {"True": True, "False": False, "None": None}


class Predicate:
    """A condition over ``data`` (its fields as ``data.total`` or ``data["total"]``), ``key``,
    ``type`` and ``headers`` (``headers.tl_change``; "" for a missing one).

    Raises ConfigurationError, with the character, for what is no expression or names anything else.
    ``problem``: the error of the last event that it could not be evaluated for, or "".
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.problem = ""
        self._tree = _parse(self.text)
        names = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        self._reads_data = "data" in names
        self._evaluator = SimpleEval(operators=dict(_OPERATORS), functions=dict(_FUNCTIONS))
        # ``data.status in ["paid", "sent"]``: SimpleEval by itself knows no lists.
        nodes: Any = self._evaluator.nodes
        nodes |= dict.fromkeys((ast.List, ast.Tuple, ast.Set), self._several)

    def _several(self, node: Any) -> list[Any]:
        return [self._evaluator._eval(each) for each in node.elts]

    def matches(self, event: Event[Any]) -> bool:
        """Whether it is true for the event.

        An event that it cannot be evaluated for, as a field is missing or of another type, does
        not match; nor does one without data (a delete), if the condition asks for data.
        Raises SCHEMA_UNAVAILABLE when the event's schema cannot be asked for.
        """
        if self._reads_data and event.value is None:
            return False
        try:
            self._evaluator.names = {
                **_CONSTANTS,
                "data": _fields_by_name(event.data) if self._reads_data else None,
                "key": event.key,
                "type": event.type,
                "headers": _Headers(event),
            }
            return bool(self._evaluator.eval(self.text, previously_parsed=self._tree))
        except SCHEMA_UNAVAILABLE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the expression does with the data
            self.problem = f"{self.text!r}: {type(error).__name__}: {error}"
            return False


class _Fields:
    """A record's fields by name: ``data.items`` is the field, not a method of dict."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        try:
            return _fields_by_name(self._fields[name])
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name: str) -> Any:
        return _fields_by_name(self._fields[name])

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __len__(self) -> int:
        return len(self._fields)


class _Headers:
    """An event's headers as text."""

    def __init__(self, event: Event[Any]) -> None:
        self._event = event

    def __getattr__(self, name: str) -> str:
        return self._event.header(name)

    def __getitem__(self, name: str) -> str:
        return self._event.header(name)


def _fields_by_name(value: Any) -> Any:
    return _Fields(value) if isinstance(value, Mapping) else value


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise ConfigurationError(f"--where has {len(text)} characters: at most {MAX_LENGTH}")
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise _error_at(text, error.offset or len(text) + 1, error.msg) from error
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL; nested too deep to parse
        raise ConfigurationError(f"--where is no expression: {error or 'too deep'}") from error
    level, parts, depth = [tree], 0, 0
    while level:  # not recursive: 3,000 times "not" are deeper than Python's stack
        parts, depth = parts + len(level), depth + 1
        if parts > MAX_PARTS or depth > MAX_DEPTH:
            raise ConfigurationError(
                f"--where is too long: at most {MAX_PARTS} names, values and operators, nested "
                f"{MAX_DEPTH} deep"
            )
        for node in level:
            _check(text, node)
        level = [child for node in level for child in ast.iter_child_nodes(node)]  # type: ignore[misc]
    return tree


def _check(text: str, node: ast.AST) -> None:
    column = getattr(node, "col_offset", 0) + 1
    if not isinstance(node, _KNOWN):
        raise _error_at(text, column, f"{type(node).__name__} is not possible here")
    if isinstance(node, ast.Name) and node.id not in (*NAMES, *_FUNCTIONS):
        known = ", ".join(NAMES)
        message = f"{node.id!r} is not known: there are {known}; text stands in quotes"
        raise _error_at(text, column, message)
    if isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) not in _OPERATORS:
        raise _error_at(text, column, f"{type(node.op).__name__} is not possible here")
    if isinstance(node, ast.Call):
        _check_call(text, node)


def _check_call(text: str, node: ast.Call) -> None:
    called, column = node.func, node.col_offset + 1
    if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
        raise _error_at(text, column, "a call takes plain arguments only")
    if isinstance(called, ast.Name) and called.id in _FUNCTIONS:
        return
    if isinstance(called, ast.Attribute) and called.attr in _METHODS:
        return
    if not isinstance(called, _KNOWN) or (isinstance(called, ast.Name) and called.id not in NAMES):
        return  # told of by itself
    name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
    known = ", ".join([*_FUNCTIONS, *(f".{method}" for method in sorted(_METHODS))])
    raise _error_at(text, column, f"{name!r} cannot be called: there are {known}")


def _error_at(text: str, column: int, message: str) -> ConfigurationError:
    return ConfigurationError(
        f"--where, character {column}: {message}\n  {text}\n  {'^':>{column}}"
    )
