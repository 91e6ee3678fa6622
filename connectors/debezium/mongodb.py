"""MongoDB's documents, which Debezium hands on as extended JSON.

MongoDB specification "Extended JSON", version 2, canonical and relaxed, and the binary and date of
version 1.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from trunkline.connectors.json_values import exact_json, to_json
from trunkline.connectors.kafka.values import MALFORMED
from trunkline.errors import DataError

_EPOCH = datetime.fromtimestamp(0, UTC)


def document(text: Any) -> dict[str, Any]:
    """The fields of a document. Raises DataError."""
    found = _parsed(text)
    if not isinstance(found, dict):
        raise DataError(f"a document is a table of fields, not {type(found).__name__}")
    return found


def key(text: Any) -> Any:
    """A document's ``_id``; of one with fields its JSON, for keys are texts. Raises DataError."""
    found = _parsed(text)
    return to_json(found).decode() if isinstance(found, dict | list) else found


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        raise DataError(
            f"MongoDB's extended JSON comes as text, not as {type(text).__name__}: is this a topic "
            "of Debezium's MongoDB connector?"
        )
    try:
        return _plain(exact_json(text))
    except MALFORMED as error:
        raise DataError(f"this is no extended JSON of MongoDB: {error!r}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    name = next(iter(value), "")
    if name.startswith("$"):
        if (read := _WRAPPED.get(name)) is not None and len(value) == 1:
            return read(value[name])
        if name == "$binary" and set(value) == {"$binary", "$type"}:
            return _binary({"base64": value["$binary"], "subType": value["$type"]})
        return value
    return {name: _plain(item) for name, item in value.items()}


def _date(value: Any) -> Any:
    if isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC)
    millis = int(value["$numberLong"]) if isinstance(value, Mapping) else int(value)
    try:
        return _EPOCH + timedelta(milliseconds=millis)
    except OverflowError:  # years beyond 9999: as it came
        return millis


def _binary(value: Any) -> Any:
    raw = base64.b64decode(value["base64"], validate=True)
    is_uuid = int(value.get("subType", "0"), 16) == 4 and len(raw) == 16
    return uuid.UUID(bytes=raw) if is_uuid else raw


_WRAPPED: Mapping[str, Callable[[Any], Any]] = {
    "$oid": str,
    "$symbol": str,
    "$numberInt": int,
    "$numberLong": int,
    "$numberDouble": float,
    "$numberDecimal": Decimal,
    "$date": _date,
    "$binary": _binary,
    "$uuid": uuid.UUID,
    "$undefined": lambda _: None,
}
"""Timestamps, regular expressions, code, MinKey and MaxKey stay as the tables that they are."""
