"""Values with texts for what JSON does not have, and where these are, to have them back. No I/O."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

Types = Mapping[str, Sequence[str]]
"""By the name of a type the places of its values, as JSON pointers (RFC 6901)."""

_DEEPEST = 50
"""Levels down to which types are kept."""


def plain(value: Any, at: str, types: dict[str, list[str]], depth: int = 0) -> Any:
    """A value with texts for what JSON does not have; ``types`` learns where they are. ``at``: the
    pointer to the value itself."""
    if isinstance(value, dict | list | tuple) and depth < _DEEPEST:
        if isinstance(value, dict):
            return {
                k: plain(v, f"{at}/{_escaped(k)}", types, depth + 1) if isinstance(k, str) else v
                for k, v in value.items()
            }
        return [plain(item, f"{at}/{n}", types, depth + 1) for n, item in enumerate(value)]
    name, text = _TO_TEXT.get(type(value), ("", str))
    if isinstance(value, float) and not math.isfinite(value):  # JSON would make it null
        name = "float"
    if not name:
        return value
    types.setdefault(name, []).append(at)
    return text(value)


def restore(whole: Any, types: Types) -> None:
    """Put the values back into what ``plain`` has made. Raises LookupError, ValueError, TypeError
    and ArithmeticError where that is not what it is."""
    for name, places in types.items():
        for place in places:
            _restore(whole, place.split("/")[1:], _FROM_TEXT[name])


def _seconds(value: timedelta) -> str:
    return str(Decimal(value // timedelta(microseconds=1)) / 1_000_000)


_TO_TEXT: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    datetime: ("datetime", str),
    date: ("date", str),
    time: ("time", str),
    timedelta: ("seconds", _seconds),
    Decimal: ("decimal", str),
    UUID: ("uuid", str),
    bytes: ("base64", lambda value: base64.b64encode(value).decode()),
}
_FROM_TEXT: Mapping[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "seconds": lambda text: timedelta(microseconds=int(Decimal(text) * 1_000_000)),
    "decimal": Decimal,
    "uuid": UUID,
    "base64": base64.b64decode,
    "float": float,
}


def _escaped(name: str) -> str:
    """A name in a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _restore(row: Any, path: list[str], read: Callable[[str], Any]) -> None:
    names = [name.replace("~1", "/").replace("~0", "~") for name in path]
    for name in names[:-1]:
        row = row[int(name)] if isinstance(row, list) else row[name]
    last: Any = int(names[-1]) if isinstance(row, list) else names[-1]
    row[last] = read(row[last])
