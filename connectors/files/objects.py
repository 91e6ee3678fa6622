"""Where FileSink writes: objects that are made whole or not at all, and never replaced."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

OURS = "_trunkline"
"""The folder of what is no data, at the root: readers of folders pass over names that begin so."""
_STALE = 3600.0
"""Seconds after which a file that somebody began to write belongs to nobody any more."""


class Objects(Protocol):
    """A place of objects, named by paths with slashes. For one thread; all methods raise
    OSError where the place does not answer, or refuses."""

    def open(self) -> None:
        """See that it is there."""
        ...

    def create(self, path: str, content: bytes) -> bool:
        """Make an object, durable when this returns; False if it is there already: of two that
        make it at once, one is told so."""
        ...

    def read(self, path: str) -> bytes:
        """An object's content."""
        ...

    def size(self, path: str) -> int:
        """Its bytes."""
        ...

    def names(self, folder: str) -> Sequence[str]:
        """The names in a folder, in any order; none of a folder that is not there."""
        ...

    def remove(self, path: str) -> None:
        """Remove an object, if it is there."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class FolderObjects:
    """``Objects`` in a folder, on a file system that has hard links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._begun = root / OURS / "begun"

    def open(self) -> None:
        """See Objects. What a killed worker had begun is removed."""
        os.stat(self._root)
        self._begun.mkdir(parents=True, exist_ok=True)
        for name in os.listdir(self._begun):
            path = self._begun / name
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()

    def create(self, path: str, content: bytes) -> bool:
        """See Objects."""
        final, begun = self._root / path, self._begun / uuid.uuid4().hex
        self._make_folder(final.parent)
        try:
            with begun.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(begun, final)  # a rename would replace what is there
            except FileExistsError:
                return False
        finally:
            begun.unlink(missing_ok=True)
        _sync_folder(final.parent)
        return True

    def _make_folder(self, folder: Path) -> None:
        """Make it, and durable with it those above it that are new."""
        if folder == self._root or folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def read(self, path: str) -> bytes:
        """See Objects."""
        return (self._root / path).read_bytes()

    def size(self, path: str) -> int:
        """See Objects."""
        return (self._root / path).stat().st_size

    def names(self, folder: str) -> Sequence[str]:
        """See Objects."""
        try:
            return os.listdir(self._root / folder)
        except FileNotFoundError:
            return ()

    def remove(self, path: str) -> None:
        """See Objects."""
        (self._root / path).unlink(missing_ok=True)

    def close(self) -> None:
        """See Objects."""


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
