"""Rows in RocksDB: for tables that are too large for memory, and for restarts that are quick.

Rows, index entries and state are in one key space, told apart by their first byte, so that one
batch writes all of them or none: a worker that is killed finds the rows of its offsets.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from trunkline.errors import ConfigurationError, MissingExtra, TableUnreadable
from trunkline.streams.tables.recent_rows import RecentRows
from trunkline.streams.tables.store import Changes, EntriesOf, Store, StoreOpener
from trunkline.streams.tables.stored_state import StoredState

log = logging.getLogger(__name__)

ROWS, ENTRIES, STATE = b"r", b"i", b"s"
FAMILY = "default"
BLOCK = 1024
"""Bytes of rows that are read and decompressed for a look-up."""
BUFFER = 8 * 2**20
"""Bytes of rows that are in memory before they become a file; there may be three such buffers."""
BLOOM_BITS = 10
MUCH = 4
"""Files are merged for look-ups where one of so many rows was written since the start: then that
takes a fraction of the time that reading them from Kafka took."""


class DiskStore(Store):
    """A store in a folder that no other process has open. Raises ConfigurationError if it cannot be
    opened or read."""

    def __init__(self, folder: Path) -> None:
        rocksdict = _rocksdict()
        self._folder = folder
        self._make_batch = partial(rocksdict.WriteBatch, raw_mode=True)
        try:
            # Without naming the family, a folder that is there already is opened with the options
            # that it was made with, and with a cache of blocks that we do not want.
            options = _options(rocksdict)
            self._db = rocksdict.Rdict(str(folder), options, column_families={FAMILY: options})
        except Exception as error:
            raise ConfigurationError(f"{folder} cannot be opened: {error}") from error
        # Without a family of its own each call looks for it by its name.
        self._rows = self._db.get_column_family(FAMILY)
        self._recent = RecentRows(self._rows.get, ROWS, self._unreadable)
        self.state = self._read_state()
        self.rows = self.state.rows
        self._written = 0

    def get(self, key: bytes) -> bytes | None:
        """As Store says."""
        return self._recent.get(key)

    def getter(self) -> Callable[[bytes], bytes | None]:
        """As Store says."""
        return self._recent.get

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As Store says."""
        found: list[bytes | None] = self._rows.get([ROWS + key for key in keys])
        return found

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """As Store says."""
        return self._with_prefix(ROWS + prefix)

    def entries(self, prefix: bytes) -> Iterator[bytes]:
        """As Store says."""
        return self._with_prefix(ENTRIES + prefix)

    def write(self, changes: Changes, state: StoredState) -> None:
        """As Store says. The process may be killed at any time; after a power failure the newest
        writes may be missing, all of each, and are read again."""
        batch = self._make_batch()
        for key, row in changes.puts.items():
            batch.put(ROWS + key, row)
        for key in changes.deletes:
            batch.delete(ROWS + key)
        for entry in changes.added:
            batch.put(ENTRIES + entry, b"")
        for entry in changes.removed:
            batch.delete(ENTRIES + entry)
        state.rows = self.rows + changes.rows
        batch.put(STATE, orjson.dumps(state.to_json()))
        with self._recent.writing(chain(changes.puts, changes.deletes)):
            self._db.write(batch)
        self.rows = state.rows
        self._written += len(changes.puts)

    def order(self, entries_of: EntriesOf) -> None:
        """As Store says; it is ordered from the beginning."""

    def settle(self) -> None:
        """As Store says. While rows are read they stand in files that overlap, and a look-up asks
        several of them. To merge a million rows of 50 bytes took under 3 seconds on a busy machine.
        Others go on meanwhile."""
        if self._written * MUCH > self.rows:
            self._db.compact_range(None, None)

    def close(self) -> None:
        """As Store says."""
        self._rows.close()
        self._db.close()

    def _with_prefix(self, prefix: bytes) -> Iterator[bytes]:
        try:
            for key in self._db.keys(from_key=prefix):
                if not key.startswith(prefix):
                    return
                yield key[1:]
        except Exception as error:
            raise self._unreadable(error) from error

    def _read_state(self) -> StoredState:
        """The state of the rows; a new one where there is none that we can read."""
        text = self._db.get(STATE)
        try:
            return StoredState() if text is None else StoredState.of(orjson.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            self.close()
            raise ConfigurationError(f"{self._folder} has a strange state: {error}") from error

    def _unreadable(self, error: Exception) -> TableUnreadable:
        # The disk's fault and no event's: a router holds the partition. Any other error of a route
        # would make a dead letter of each event.
        return TableUnreadable(
            f"the table in {self._folder} cannot be read: {error}; mend the disk, or stop the "
            "worker and delete that folder: its topic is read again"
        )


def on_disk(folder: Path) -> StoreOpener:
    """Opens the store in this folder; what is there of another topic, or damaged, is deleted."""
    _rocksdict()
    return partial(_opened, folder)


def _opened(folder: Path, why_not: Callable[[StoredState], str]) -> tuple[Store, StoredState]:
    if folder.exists():
        try:
            store = DiskStore(folder)
        except ConfigurationError as error:
            reason = str(error)
        else:
            reason = why_not(store.state) if store.state.identity else "they were never complete"
            if not reason:
                return store, store.state
            store.close()
        log.warning("the rows in %s are read again from the topic: %s", folder, reason)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    store = DiskStore(folder)
    return store, store.state


def _rocksdict() -> Any:
    try:
        import rocksdict
    except ImportError:
        raise MissingExtra('A table with store="disk"', "tables") from None
    return rocksdict


def _options(rocksdict: Any) -> Any:
    """Little memory, whatever the size of the table: filters and indexes, which are always there,
    take 2 to 4 MB a million rows. Blocks are small, and none is kept: the kernel has the files in
    its cache, and to read a kilobyte from there costs less than to keep blocks of four (measured
    with a million rows: 2.4 µs and 4.4). Not mapped into memory: that would save another µs, but a
    disk that cannot be read would end the process, and not just hold the routing."""
    blocks = rocksdict.BlockBasedOptions()
    blocks.disable_cache()
    blocks.set_block_size(BLOCK)
    blocks.set_cache_index_and_filter_blocks(False)
    blocks.set_bloom_filter(BLOOM_BITS, False)
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_write_buffer_size(BUFFER)
    options.set_max_write_buffer_number(3)
    options.set_max_open_files(-1)  # a look-up would ask a cache of files, behind a lock
    options.set_keep_log_file_num(2)
    # A write that has to wait for compactions would wait with the GIL, and everything with it.
    options.set_level_zero_slowdown_writes_trigger(64)
    options.set_level_zero_stop_writes_trigger(128)
    options.set_max_total_wal_size(4 * BUFFER)
    return options
