"""``--where``: a condition on an event, as an expression in Python's syntax.

simpleeval evaluates it: it knows no assignment, no import and no names but those it is given.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from simpleeval import SimpleEval

from trunkline.errors import SCHEMA_UNAVAILABLE, ConfigurationError
from trunkline.event import Event

NAMES = ("data", "key", "type", "headers")
_FUNCTIONS = {"abs": abs, "float": float, "int": int, "len": len, "round": round, "str": str}
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
        self._evaluator = SimpleEval(functions=dict(_FUNCTIONS))

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
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise _error_at(text, error.offset or len(text) + 1, error.msg) from error
    for node in ast.walk(tree):
        _check(text, node)
    return tree


def _check(text: str, node: ast.AST) -> None:
    if isinstance(node, ast.Name) and node.id not in (*NAMES, *_FUNCTIONS):
        known = ", ".join(NAMES)
        message = f"{node.id!r} is not known: there are {known}; text stands in quotes"
        raise _error_at(text, node.col_offset + 1, message)
    if isinstance(node, (ast.Lambda, ast.NamedExpr, ast.Await, ast.Yield, ast.ListComp)):
        raise _error_at(text, node.col_offset + 1, f"{type(node).__name__} is not possible here")


def _error_at(text: str, column: int, message: str) -> ConfigurationError:
    return ConfigurationError(
        f"--where, character {column}: {message}\n  {text}\n  {'^':>{column}}"
    )
