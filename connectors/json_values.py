"""Canonical values as JSON: what an HTTP body and a JSON column hold.

Dates and times are ISO 8601, a UUID its text, a decimal a string (a JSON number would lose its
digits in most readers), bytes base64.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson

from trunkline.errors import SerializationError


def to_json(value: Any) -> bytes:
    """``value`` as UTF-8 JSON. Raises SerializationError for what has no JSON form."""
    try:
        return orjson.dumps(value, default=_plain)
    except orjson.JSONEncodeError as error:
        raise SerializationError(f"not JSON: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError
