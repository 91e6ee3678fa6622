"""FileSink: events in files of a folder or a bucket, each event in one file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from trunkline.connectors.base import CallLimits, Finding, Sink
from trunkline.connectors.files.objects import OURS, FolderObjects, Objects
from trunkline.connectors.files.places import S3
from trunkline.connectors.files.write_log import Fenced, WriteLog, WrittenFile, mark
from trunkline.connectors.files.written_forms import COLUMNS, Forms
from trunkline.errors import ConfigurationError, DataError, PartialFailure, Rejected, Unavailable
from trunkline.event import Event

T = TypeVar("T")
R = TypeVar("R")

Period = Literal["", "month", "day", "hour"]
_FOLDERS: dict[str, str] = {
    "": "",
    "month": "month=%Y-%m",
    "day": "day=%Y-%m-%d",
    "hour": "day=%Y-%m-%d/hour=%H",
}
NO_TIME = "__HIVE_DEFAULT_PARTITION__"
"""Where the value of a folder's name is missing: Hive's word for it."""
_TRIES = 3


class FileSink(Sink[T]):
    """Writes events into files that nobody ever changes, as JSON lines or Parquet, for whoever
    analyses them.

    ``folder``: where, here or in a bucket (``S3``); it must exist. ``by``: of which periods of the
    events' time there is a folder: ``day=2026-11-30/``, "hour", "month", "" for none. ``name``:
    what files' names begin with; the inbox by default. ``format``: "jsonl" or "parquet", which
    needs the extra ``parquet``. ``compress``: whether JSON lines are by gzip; Parquet is packed
    by itself. ``max_batch``: events of one call, which makes a file for each partition and folder:
    with ``batch=`` and ``linger=`` of the destination files become as large as they should be.

    A line is an object: the event's own fields behind ``_key``, ``_change``, ``_type``, ``_time``,
    ``_source``, ``_id``, ``_partition``, ``_offset`` (the two name the event in the inbox); of a
    delete these alone. Parquet has them as columns, of the types that the Avro schema says, null
    where JSON has nothing. A file's name has the partition, its first offset and its last one.

    Guarantees: an event is in one file, once, through crashes and rebalances, and through a worker
    that is slow and not dead; a file is whole, or not there. Lines of a key are in order within a
    file, and by ``_offset`` over all. On a store that does not know ``If-None-Match`` the slow
    worker is not held off.

    Errors: Rejected for an event that has no such form, by PartialFailure; Unavailable where the
    folder or the bucket is not there, refuses, or is full. Raises ConfigurationError, MissingExtra.
    """

    accepts_deletes = True
    appends = True

    def __init__(
        self,
        folder: str | os.PathLike[str] | S3,
        type: type[T],
        *,
        by: Period = "day",
        name: str = "",
        format: Literal["jsonl", "parquet"] = "jsonl",
        compress: bool = False,
        max_batch: int = 10_000,
    ) -> None:
        if by not in _FOLDERS:
            raise ConfigurationError(f"FileSink: by={by!r} is none of month, day, hour and nothing")
        if "/" in name or name.startswith((".", "_")) or max_batch < 1:
            raise ConfigurationError(
                "FileSink: name= has no slash, and no dot or _ in front; max_batch= is 1 or more"
            )
        if format not in ("jsonl", "parquet") or (compress and format == "parquet"):
            raise ConfigurationError(
                'FileSink: format= is "jsonl" or "parquet", and compress= is of JSON lines: '
                "Parquet is packed by itself"
            )
        if taken := sorted(set(COLUMNS) & set(get_type_hints(type))):
            raise ConfigurationError(
                f"FileSink: {type.__name__} has {', '.join(taken)}, which lines have of their own"
            )
        self.type = type
        self.max_batch = max_batch
        self._place = folder
        self._by, self._name = by, name
        self._forms = Forms(type, format, compress)
        self._stop = threading.Event()
        self._objects: Objects | None = None
        self._logs: dict[tuple[str, int], WriteLog] = {}
        self._thread: ThreadPoolExecutor | None = None

    def configure(self, limits: CallLimits) -> None:
        """Take over ``batch``."""
        if limits.batch is not None:
            self.max_batch = limits.batch
        super().configure(limits)

    async def open(self) -> None:
        """See that the folder or bucket is there. Raises Unavailable."""
        if self._thread is None:
            # One thread: what a call that was cancelled still does is over before the next begins.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="file-sink")
        await self._in_thread(self._open)

    def check(self) -> list[Finding]:
        """See ``Sink.check``: whether the folder or bucket is there."""
        objects = objects_at(self._place, threading.Event())
        try:
            objects.open()
        except OSError as error:
            return [Finding(f"FileSink: {error}")]
        finally:
            objects.close()
        return []

    async def deliver(self, events: Sequence[Event[T]]) -> None:
        """Write the events into new files. Raises PartialFailure, Unavailable."""
        failures: dict[int, Any] = {}
        lines: dict[tuple[str, int], list[tuple[Event[T], Any]]] = defaultdict(list)
        made = await self._in_thread(self._forms.form.lines, events)
        for index, (event, line) in enumerate(zip(events, made, strict=True)):
            if isinstance(line, DataError):
                failures[index] = Rejected(str(line))
            else:
                lines[event.inbox, event.partition].append((event, line))
        for partition, some in lines.items():
            await self._in_thread(self._write, partition, some)
        if failures:
            raise PartialFailure(failures)

    async def close(self) -> None:
        """See ``Sink.close``."""
        self._stop.set()
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    async def _in_thread(self, function: Callable[..., R], *arguments: Any) -> R:
        assert self._thread is not None, "deliver comes behind open"
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, function, *arguments)
        except OSError as error:
            raise Unavailable(f"FileSink: {error}") from error
        except Fenced as error:
            raise Unavailable(f"FileSink: another worker writes here: {error}") from error

    def _open(self) -> None:
        if self._objects is None:
            self._objects = objects_at(self._place, self._stop)
        self._objects.open()

    def _close(self) -> None:
        if self._objects is not None:
            self._objects.close()
            self._objects = None

    def _write(self, partition: tuple[str, int], lines: list[tuple[Event[T], Any]]) -> None:
        """Write those of a partition's events that are in no file yet."""
        for tries_left in reversed(range(_TRIES)):
            log = self._logs.pop(partition, None) or self._log(partition)
            # A repetition within the call is one line.
            marked = {mark(each[0].sequence, each[0].idempotency_key): each for each in lines}
            missing = log.missing({m: event.sequence for m, (event, _) in marked.items()})
            fresh = {m: line for m, line in marked.items() if m in missing}
            try:
                if fresh:
                    log.write(self._files(partition, fresh, log.next))
            except Fenced:  # who wrote here before this worker, or does: what he has made is read
                if not tries_left:
                    raise
            else:
                self._logs[partition] = log  # only now: after a failure it must be read anew
                return

    def _log(self, partition: tuple[str, int]) -> WriteLog:
        assert self._objects is not None
        return WriteLog(self._objects, f"{OURS}/{partition[0]}-{partition[1]}", self._forms)

    def _files(
        self, partition: tuple[str, int], fresh: dict[bytes, tuple[Event[T], Any]], entry: int
    ) -> list[tuple[WrittenFile, bytes]]:
        folders: dict[str, list[tuple[int, bytes, Any]]] = defaultdict(list)
        for marked, (event, line) in fresh.items():
            folders[self._folder(event)].append((event.sequence, marked, line))
        form = self._forms.form
        files = []
        for folder, some in folders.items():
            some.sort(key=lambda each: each[:2])
            first, last = some[0][0], some[-1][0]
            marks = b"".join(marked for _, marked, _ in some)
            # Files of another inbox may have this name=, and as many events.
            told = hashlib.blake2b(partition[0].encode() + marks, digest_size=4).hexdigest()
            place = f"{self._name or partition[0]}-{partition[1]}"
            name = f"{place}-{first:012}-{last:012}-{entry}-{told}{form.ending}"
            file = WrittenFile(f"{folder}/{name}" if folder else name, first, last, marks)
            files.append((file, form.packed([line for *_, line in some])))
        return files

    def _folder(self, event: Event[T]) -> str:
        form = _FOLDERS[self._by]
        try:
            at = event.time  # as the source, or another producer, has written it
            at = at if at.tzinfo is None else at.astimezone(UTC)
            return at.strftime(form) if form else ""
        except (ValueError, OverflowError):  # of a record that somebody put into the inbox by hand
            return "/".join(f"{part.split('=')[0]}={NO_TIME}" for part in form.split("/"))


def objects_at(place: str | os.PathLike[str] | S3, stop: threading.Event) -> Objects:
    """The objects at a place that a flow names. Connects to nothing."""
    if isinstance(place, S3):
        from trunkline.connectors.files.s3_objects import S3Objects  # its client is an extra

        return S3Objects(place, stop)
    return FolderObjects(Path(place))
