"""Reading a folder without waiting: a stop that comes when the source has nothing more to read."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trunkline.connectors.base import Batch, Position
from trunkline.connectors.files import FileSource
from trunkline.event import Record


class Looks(threading.Event):
    """Where the source would wait for its next look, the next of ``between`` is called instead;
    behind the last one the source is stopped."""

    def __init__(self, *between: Callable[[], object]) -> None:
        super().__init__()
        self._between = list(between)

    def wait(self, timeout: float | None = None) -> bool:
        if self._between:
            self._between.pop(0)()
        else:
            self.set()
        return self.is_set()


def source_of(folder: Path, **more: Any) -> FileSource:
    given: dict[str, Any] = {"key": "id", "settle": "0s"}
    return FileSource(folder, **{**given, **more})


def batches(
    source: FileSource, position: Position | None = None, *between: Callable[[], object]
) -> list[Batch]:
    """All batches, each acknowledged, as the engine does."""
    found = []
    try:
        for batch in source.read(position, Looks(*between)):
            found.append(Batch(batch.records, json.loads(json.dumps(batch.position))))
            source.acknowledge(batch.position)
    finally:
        source.close()
    return found


def records(given: list[Batch]) -> list[Record]:
    return [record for batch in given for record in batch.records]


def rows(given: list[Batch]) -> list[str]:
    """The keys of what could be read, in order."""
    return [record.key for record in records(given) if record.unreadable is None]


def bad(given: list[Batch]) -> list[tuple[str, str, bytes]]:
    """Place, error and raw bytes of what could not be read."""
    return [
        (record.place, str(record.unreadable.error), record.unreadable.raw)
        for record in records(given)
        if record.unreadable is not None
    ]


def write(folder: Path, name: str, *ids: object, modified: int | None = None) -> Path:
    """A CSV of these keys, which replaces what has its name."""
    new = folder / f".{name}"
    new.write_text("id,note\n" + "".join(f"{key},x\n" for key in ids))
    if modified is not None:
        os.utime(new, (modified, modified))
    new.rename(folder / name)
    return folder / name
