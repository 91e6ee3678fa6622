"""What a route is given: look-ups in a store, whose rows are decoded when they are asked for.

No decoded values are kept. Decoding a row takes about as long as finding a kept one would, and a
route that changes what it was given would change it for the next event, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from trunkline.schemas.codec import Decode
from trunkline.streams.flow.table import Index, IndexedValue, Table
from trunkline.streams.tables.rows import entries_of, key_of, text_and_key_of, texts_from
from trunkline.streams.tables.store import Store

T = TypeVar("T")


class StoredTable(Table[Any]):
    """A ``Table`` over a store. ``bind`` gives it one, before any route runs."""

    __slots__ = ("_decode", "_get", "_store")

    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def bind(self, store: Store) -> None:
        """Look up in this store from now on."""
        self._store = store
        self._get = store.getter()

    def get(self, key: str, default: Any = None) -> Any:
        """As Table says. Runs for every event: measure before you add a call."""
        try:
            raw = key.encode()
        except AttributeError:
            raise _not_a_text(key) from None
        row = self._get(raw)
        return default if row is None else self._decode(row)

    def __getitem__(self, key: str) -> Any:
        try:
            raw = key.encode()
        except AttributeError:
            raise _not_a_text(key) from None
        row = self._get(raw)
        if row is None:
            raise KeyError(key)
        return self._decode(row)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._get(key.encode()) is not None

    def __len__(self) -> int:
        return self._store.rows

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """As Table says."""
        for key in self._store.keys(prefix.encode()):
            row = self._get(key)
            if row is not None:  # it was deleted meanwhile
                yield key.decode(errors="replace"), self._decode(row)


class StoredIndex(Index[Any]):
    """An ``Index`` over the entries of a store. ``number``: of the index; ``field``: by which it
    is."""

    __slots__ = ("_decode", "_field", "_get", "_number", "_store")

    def __init__(self, decode: Decode, number: int, field: str) -> None:
        self._decode = decode
        self._number = number
        self._field = field

    def bind(self, store: Store) -> None:
        """Look up in this store from now on."""
        self._store = store
        self._get = store.getter()

    def get(self, value: IndexedValue) -> list[Any]:
        """As Index says."""
        return list(self._rows(value))

    def __getitem__(self, value: IndexedValue) -> list[Any]:
        found = self.get(value)
        if not found:
            raise KeyError(value)
        return found

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str | int) and next(self._rows(value), None) is not None

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """As Index says."""
        for entry in self._store.entries(texts_from(self._number, prefix)):
            text, key = text_and_key_of(entry)
            row = self._row(key, text)
            if row is not None:
                yield text, row

    def _rows(self, value: IndexedValue) -> Iterator[Any]:
        begin = entries_of(self._number, value)
        for entry in self._store.entries(begin):
            row = self._row(key_of(entry, begin), value)
            if row is not None:
                yield row

    def _row(self, key: bytes, value: IndexedValue) -> Any:
        """The row of an entry, or None if it went, or has another value, since the entry was
        read."""
        row = self._get(key)
        data = None if row is None else self._decode(row)
        return data if data is not None and data[self._field] == value else None


def _not_a_text(key: object) -> TypeError:
    return TypeError(f"a table is asked for a key, which is a text, not for {key!r}")
