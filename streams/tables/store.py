"""What keeps the rows of one topic: a dictionary, or RocksDB. One thread writes, others read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trunkline.streams.tables.stored_state import StoredState

EntriesOf = Callable[[bytes, bytes], Iterable[bytes]]
"""The index entries of a key and its row."""


@dataclass(slots=True)
class Changes:
    """What a batch of records changes. ``puts``: rows by key; ``deletes``: keys that had a row;
    ``added`` and ``removed``: index entries; ``rows``: how many more rows there are then."""

    puts: dict[bytes, bytes] = field(default_factory=dict)
    deletes: list[bytes] = field(default_factory=list)
    added: list[bytes] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)
    rows: int = 0


class Store(ABC):
    """The rows of one topic, by key and by index entry.

    A reader during ``write`` sees a row as it was before or as it is afterwards, and an entry of
    one of both: whoever follows an entry looks whether the row has that value.
    """

    rows: int = 0
    """How many rows there are."""

    @property
    def ordered(self) -> bool:
        """Whether entries are kept while the topic is read for the first time. If not, ``order``
        asks for all of them when it is read."""
        return True

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """The row of a key."""

    def getter(self) -> Callable[[bytes], bytes | None]:
        """``get``, as fast as it can be called."""
        return self.get

    @abstractmethod
    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The rows of these keys, in their order."""

    @abstractmethod
    def keys(self, prefix: bytes) -> Iterable[bytes]:
        """The keys with this prefix, in their order."""

    @abstractmethod
    def entries(self, prefix: bytes) -> Iterable[bytes]:
        """The index entries with this prefix, in their order."""

    @abstractmethod
    def write(self, changes: Changes, state: StoredState) -> None:
        """Make these changes, and keep ``state`` with them: both or neither."""

    @abstractmethod
    def order(self, entries_of: EntriesOf) -> None:
        """The topic is read, and the store is not ``ordered`` yet: it is from now on."""

    @abstractmethod
    def settle(self) -> None:
        """The topic is read up to where it stood at the start: from now on rows are looked up."""

    @abstractmethod
    def close(self) -> None:
        """Release everything."""


class StoreOpener(Protocol):
    """Opens the store of a topic's tables."""

    def __call__(self, why_not: Callable[[StoredState], str]) -> tuple[Store, StoredState]:
        """The store, and the state of its rows. ``why_not`` says why rows that were kept cannot be
        gone on from; then the store is empty, and its state new."""
        ...
