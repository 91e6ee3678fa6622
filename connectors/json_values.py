"""Canonical values as JSON: what an HTTP body and a JSON column hold.

Dates and times are ISO 8601, a UUID its text, a decimal a string (a JSON number would lose its
digits in most readers), bytes base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson

from trunkline.errors import SerializationError

_SHAPE = bytes.maketrans(b"123456789.E", b"0000000000e")
_LONG_NUMBER = b"0" * 16

MOST_DIGITS = 1_000
"""Digits that a decimal may have before or behind its point."""


def to_json(value: Any) -> bytes:
    """``value`` as UTF-8 JSON. Raises SerializationError for what has no JSON form."""
    try:
        return orjson.dumps(value, default=_plain)
    except orjson.JSONEncodeError as error:
        raise SerializationError(f"not JSON: {error}") from error


def text_of(value: Any) -> str:
    """A single value as text, in the form that it has in JSON: ``true``, an ISO 8601 time, base64.

    Raises SerializationError for what is no single value: a list, a record, nothing.
    """
    if isinstance(value, str):
        return value
    form = orjson.loads(to_json(value)) if not isinstance(value, int | float) else value
    if isinstance(form, bool):
        return "true" if form else "false"
    if form is None or isinstance(form, list | dict):
        raise SerializationError(f"{type(value).__name__} is no single value")
    return str(form)


def exact_json(text: str | bytes) -> Any:
    """A JSON text with no digit lost: whole numbers are ``int``, others the ``float`` that is
    written with the same digits, or a ``Decimal`` if there is none. Raises ValueError."""
    if isinstance(text, bytes):
        shape = text.translate(_SHAPE)  # a regular expression would take longer than the parser
        if _LONG_NUMBER not in shape and b"0e" not in shape:
            return orjson.loads(text)  # ten times as fast, and as exact up to 15 digits
    try:
        return json.loads(text, parse_float=_number, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def pointed(pointer: str, what: str = "the body") -> Callable[[Any], Any]:
    """Reads a field by its name, or by a JSON pointer (RFC 6901); "" is all of it. The function
    raises LookupError where it is not."""
    path = pointer.removeprefix("/").split("/") if pointer.startswith("/") else [pointer]
    names = [name.replace("~1", "/").replace("~0", "~") for name in path] if pointer else []

    def read(body: Any) -> Any:
        for name in names:
            if isinstance(body, list) and name.isdecimal() and int(name) < len(body):
                body = body[int(name)]
            elif isinstance(body, dict) and name in body:
                body = body[name]
            else:
                raise LookupError(f"{what} has no {pointer}")
        return body

    return read


def _number(text: str) -> float | Decimal:
    try:
        exact = Decimal(text)
    except ArithmeticError:
        raise ValueError(f"a number with an exponent that cannot be: {text[:40]}") from None
    number = float(text)
    return number if isfinite(number) and Decimal(repr(number)) == exact else exact


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) < MOST_DIGITS else Decimal(text)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _digits(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError


def _digits(value: Decimal) -> str:
    """All digits, without an exponent: many readers of decimals know none, and ``str`` writes a
    hundred-millionth as ``1E-8`` and a zero of that scale as ``0E-8``."""
    if not value.is_finite() or abs(value.adjusted()) > MOST_DIGITS:
        raise SerializationError(f"a decimal beyond {MOST_DIGITS} digits, or no number")
    return format(value, "f")
