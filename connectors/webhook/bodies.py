"""What a request's body holds: JSON objects, or the fields of a form."""

from __future__ import annotations

import json
import re
from typing import Any, Literal
from urllib.parse import parse_qsl

import orjson

Body = dict[str, Any]
BodyFormat = Literal["json", "form"]

MOST_FIELDS = 1_000
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def bodies(body: bytes, form: BodyFormat) -> list[Body]:
    """The objects of a request. Raises ValueError with what is wrong."""
    return [_fields(body)] if form == "form" else _objects(body)


def _fields(body: bytes) -> Body:
    """A form's fields (URL Standard, 5.1): texts; of a name that comes several times their list."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:  # also of bytes that are not UTF-8
        raise ValueError(f"the body is no form of up to {MOST_FIELDS} fields: {error}") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _objects(body: bytes) -> list[Body]:
    try:
        value = _loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(one, dict) for one in found):
        raise ValueError("the body must be a JSON object, or an array of objects")
    return found


def _loads(body: bytes) -> Any:
    """A JSON text with its whole numbers exact.

    orjson makes floats of those beyond 64 bits: two orders whose numbers have 20 digits then had
    one key and one id, and the second was dropped as a repeat. Python's own parser keeps them, for
    ten times the time, so it is asked only where so many digits stand in a row.
    """
    if not _LONG_NUMBER.search(body):
        return orjson.loads(body)
    orjson.loads(body)  # stricter about what is JSON: encoding, nesting, no NaN
    return json.loads(body)
