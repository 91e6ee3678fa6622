"""A worker's own folder on a machine: RocksDB lets one process in, and several workers run here.

Slots are numbered from 0. A worker takes the first one that nobody has, and so finds the rows that
a worker before it has left there.
"""

from __future__ import annotations

import fcntl
from itertools import count
from pathlib import Path
from typing import IO

from trunkline.errors import ConfigurationError


class Slot:
    """A folder that no other process has as long as this one holds its lock file, which ends with
    the process, however it ends."""

    def __init__(self, folder: Path, lock: IO[bytes]) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def claim(cls, root: Path) -> Slot:
        """Take the first free slot below ``root``. Raises ConfigurationError if nothing can be
        written there."""
        for number in count():
            folder = root / str(number)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock = (folder / "lock").open("wb")
            except OSError as error:
                raise ConfigurationError(
                    f"tables cannot be kept in {folder}: {error.strerror}; give a folder that can "
                    "be written (data in [trunkline], or TRUNKLINE_DATA)"
                ) from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            return cls(folder, lock)
        raise AssertionError("there is no end of numbers")

    def release(self) -> None:
        """Let others have it."""
        self._lock.close()
