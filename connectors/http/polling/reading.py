"""The items of a page, and their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from trunkline.connectors.json_values import exact_json, pointed, text_of
from trunkline.connectors.known import LONGEST_KEY
from trunkline.errors import ConfigurationError, DataError, SourceError
from trunkline.event import Record, Unreadable, join_key
from trunkline.masking import MAX_SECRET

ItemKey = str | Sequence[str] | Callable[[dict[str, Any]], str]
Items = str | Callable[[bytes], Iterable[dict[str, Any]]]
MAX_RAW = 1_000_000
"""Bytes of an item that a dead letter has."""


class PageReader:
    """Finds the items of a body, and each one's key.

    ``items``: where the body has their list, a name or JSON pointer, "" if it is the list; or a
    function of the body's bytes that gives them. ``key``: fields of an item, or a function of it.
    """

    def __init__(self, items: Items, key: ItemKey) -> None:
        self._parse = items if callable(items) else None
        self._list = pointed("" if callable(items) else items)
        names = [key] if isinstance(key, str) else [] if callable(key) else list(key)
        if not callable(key) and (not names or not all(names)):
            raise ConfigurationError("HttpPolling: key= names a field of an item, or several")
        self.names = names
        self._fields = [pointed(name, "the item") for name in names]
        self._key = key if callable(key) else None

    def items(self, body: bytes) -> tuple[Any, list[Any]]:
        """The parsed body (None where a function reads it), and its items. Raises SourceError for
        a body that is not what it should be: an API that answers a page of errors with 200."""
        try:
            if self._parse is not None:
                return None, list(self._parse(body))
            parsed = exact_json(body)
            found = self._list(parsed)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise SourceError(
                f"the answer cannot be read: {said}: {body[:MAX_SECRET]!r}"
            ) from error
        if not isinstance(found, list):
            raise SourceError(f"items= leads to {type(found).__name__}, not to a list of items")
        return parsed, found

    def key(self, item: Any) -> str:
        """An item's key. Raises DataError."""
        if not isinstance(item, dict):
            raise DataError(f"the item is no object, but {type(item).__name__}")
        try:
            if self._key is not None:
                key = self._key(item)
            else:
                values = [field(item) for field in self._fields]
                if any(value is None or value == "" for value in values):
                    raise DataError("the item's key is empty")
                key = join_key([text_of(value) for value in values])
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"the item has no key: {type(error).__name__}: {error}") from error
        if not key or len(key) > LONGEST_KEY:
            raise DataError(f"the item's key is empty, or longer than {LONGEST_KEY} characters")
        return key


def shown(item: Any) -> bytes:
    """All of an item as bytes, the same for equal ones."""
    try:
        return orjson.dumps(item, default=str, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # numbers beyond 64 bits
        return repr(item).encode(errors="surrogatepass")


def id_of(*parts: bytes) -> str:
    """An id of these parts."""
    return hashlib.sha256(b"/".join(parts)).hexdigest()[:32]


def unreadable(error: DataError, stream: str, raw: bytes) -> Record:
    """The record of an item that has no key."""
    id_ = id_of(b"unreadable", raw)
    bad = Unreadable(error, raw[:MAX_RAW], cut=len(raw) > MAX_RAW)
    return Record(key="", data={}, stream=stream, id=id_, place=f"{stream} {id_}", unreadable=bad)
