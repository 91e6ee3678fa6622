"""Keys and values of foreign topics: bytes become texts and data, or a DataError says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from trunkline.connectors.json_values import exact_json, text_of
from trunkline.errors import ConfigurationError, DataError, SerializationError
from trunkline.event import join_key
from trunkline.schemas.codec import Decode

KeyFormat = Literal["text", "json", "avro", "int", "hex"]
ValueFormat = Literal["json", "avro", "text", "bytes"]

Read = Callable[[bytes], Any]

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What code raises that meets a value of another form than it was told. Foreign programs write what
they want: it says something about their message alone."""

_FRAME = 5
"""Bytes of the registry's wire format in front of a value: a zero, and the schema's id."""


def key_reader(format: KeyFormat, avro: Decode | None) -> Read:
    """What reads keys: a text, number or table of fields. Raises ConfigurationError."""
    readers: dict[str, Read | None] = {"text": _text, "json": _json, "int": _number, "avro": avro}
    readers["hex"] = bytes.hex
    return _of(readers, format, "key", get_args(KeyFormat))


def value_reader(format: ValueFormat, avro: Decode | None) -> Read:
    """What reads values. Raises ConfigurationError."""
    readers: dict[str, Read | None] = {"json": _json, "text": _text, "bytes": bytes, "avro": avro}
    return _of(readers, format, "value", get_args(ValueFormat))


def key_text(key: Any) -> str:
    """An entity's key as text: that of its one field, or of all in their order (``join_key``).
    Raises DataError for a field that is empty or holds several values."""
    if key is None:
        return ""
    if not isinstance(key, Mapping):
        return join_key([text_of(key)])
    if not key:
        raise DataError("the key has no fields")
    texts = []
    for name, value in key.items():
        try:
            texts.append(text_of(value))
        except SerializationError as error:
            raise DataError(f"the key's field {name!r}: {error}") from error
    return join_key(texts)


def table_of(value: Any) -> dict[str, Any]:
    """A value as a record's data: itself where it has fields, else as the field ``value``."""
    return value if isinstance(value, dict) else {"value": value}


def _of(readers: Mapping[str, Read | None], format: str, what: str, known: tuple[str, ...]) -> Read:
    reader = readers.get(format)
    if reader is None:
        raise ConfigurationError(f"{what}={format!r} is none of {', '.join(known)}")
    return reader


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"the bytes are no UTF-8: {error}") from error


def _json(raw: bytes) -> Any:
    # JSON begins with no zero: it is the frame that Confluent's JSON Schema serializer writes.
    text = raw[_FRAME:] if raw[:1] == b"\0" else raw
    try:
        return exact_json(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the bytes are no JSON: {error}") from error


def _number(raw: bytes) -> int:
    if len(raw) not in (2, 4, 8):
        raise DataError(f"{len(raw)} bytes are no number of Java's serializers (2, 4 or 8)")
    return int.from_bytes(raw, "big", signed=True)
