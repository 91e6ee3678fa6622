"""Rows in a dictionary: a look-up takes the time of a dictionary's."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, starmap
from threading import Lock

from trunkline.streams.tables.huge_pages import use_huge_pages
from trunkline.streams.tables.store import Changes, EntriesOf, Store
from trunkline.streams.tables.stored_state import StoredState

BUCKET = 1_000
"""Keys of a bucket. Adding one moves those behind it in its bucket, and no others."""

MANY = 50_000
"""Rows, from which on a processor's caches do not have them."""


class SortedKeys:
    """Keys in their order, in buckets of up to twice ``BUCKET``. Not for several threads."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        ordered = sorted(keys)
        self._buckets = [ordered[at : at + BUCKET] for at in range(0, len(ordered), BUCKET)]
        self._firsts = [bucket[0] for bucket in self._buckets]

    def add(self, key: bytes) -> None:
        """Add a key; nothing if it is there."""
        if not self._buckets:
            self._buckets, self._firsts = [[key]], [key]
            return
        number = self._bucket_of(key)
        bucket = self._buckets[number]
        at = bisect_left(bucket, key)
        if at < len(bucket) and bucket[at] == key:
            return
        insort(bucket, key)
        self._firsts[number] = bucket[0]
        if len(bucket) > 2 * BUCKET:
            self._buckets.insert(number + 1, bucket[BUCKET:])
            self._firsts.insert(number + 1, bucket[BUCKET])
            del bucket[BUCKET:]

    def discard(self, key: bytes) -> None:
        """Remove a key; nothing if it is not there."""
        if not self._buckets:
            return
        number = self._bucket_of(key)
        bucket = self._buckets[number]
        at = bisect_left(bucket, key)
        if at == len(bucket) or bucket[at] != key:
            return
        del bucket[at]
        if bucket:
            self._firsts[number] = bucket[0]
        else:
            del self._buckets[number], self._firsts[number]

    def with_prefix(self, prefix: bytes) -> list[bytes]:
        """The keys with this prefix, in their order."""
        found: list[bytes] = []
        start = self._bucket_of(prefix)
        for bucket in self._buckets[start:]:
            for key in bucket[bisect_left(bucket, prefix) :]:
                if not key.startswith(prefix):
                    return found
                found.append(key)
        return found

    def _bucket_of(self, key: bytes) -> int:
        """The bucket that has the key, or would have it."""
        after = bisect_left(self._firsts, key)
        at_its_beginning = after < len(self._firsts) and self._firsts[after] == key
        return after if at_its_beginning else max(0, after - 1)


class MemoryStore(Store):
    """A store in memory. Until the topic is read, nothing but the rows is kept: sorting all keys
    once takes a fraction of the time that it takes to keep them sorted meanwhile."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys = SortedKeys()
        self._entries = SortedKeys()
        self._is_ordered = False
        self._lock = Lock()  # of what is ordered; a dictionary needs none

    @property
    def ordered(self) -> bool:
        """Whether ``order`` was called."""
        return self._is_ordered

    def get(self, key: bytes) -> bytes | None:
        """As Store says."""
        return self._rows.get(key)

    def getter(self) -> Callable[[bytes], bytes | None]:
        """The dictionary's own method: a look-up is no call more."""
        return self._rows.get

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As Store says."""
        get = self._rows.get
        return [get(key) for key in keys]

    def keys(self, prefix: bytes) -> list[bytes]:
        """As Store says."""
        with self._lock:
            return self._keys.with_prefix(prefix)

    def entries(self, prefix: bytes) -> list[bytes]:
        """As Store says."""
        with self._lock:
            return self._entries.with_prefix(prefix)

    def write(self, changes: Changes, state: StoredState) -> None:
        """As Store says; ``state`` is of no use, since nothing survives."""
        del state
        if self._is_ordered:
            with self._lock:
                for entry in changes.added:
                    self._entries.add(entry)
                for key in changes.puts:
                    if key not in self._rows:
                        self._keys.add(key)
        self._rows.update(changes.puts)
        for key in changes.deletes:
            self._rows.pop(key, None)
        if self._is_ordered:
            with self._lock:
                for entry in changes.removed:
                    self._entries.discard(entry)
                for key in changes.deletes:
                    self._keys.discard(key)
        self.rows = len(self._rows)

    def order(self, entries_of: EntriesOf) -> None:
        """As Store says."""
        keys = SortedKeys(self._rows)
        entries = SortedKeys(chain.from_iterable(starmap(entries_of, self._rows.items())))
        with self._lock:
            self._keys, self._entries = keys, entries
            self._is_ordered = True

    def settle(self) -> None:
        """As Store says."""
        if self.rows >= MANY:
            use_huge_pages()

    def close(self) -> None:
        """As Store says; there is nothing to release."""


def in_memory(why_not: Callable[[StoredState], str]) -> tuple[Store, StoredState]:
    """A new store in memory. A StoreOpener."""
    del why_not
    return MemoryStore(), StoredState()
