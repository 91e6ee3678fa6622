"""What commands print: tables, and dead letters as text and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trunkline.admin.status import WorkerStatus
from trunkline.errors import TrunklineError
from trunkline.headers import TL_TRACEBACK
from trunkline.schemas.codec import Decode
from trunkline.streams.control.audit import AuditRecord
from trunkline.streams.dlq.letters import DeadLetter, printable
from trunkline.streams.dlq.queue import CauseGroup

WIDE = 250
"""Columns where no terminal says how many there are: programs that read tables get whole lines."""


def print_table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table on standard output; the last column takes what room there is."""
    table = Table(box=None, pad_edge=False)
    *narrow, last = headings
    for heading in narrow:
        table.add_column(heading, no_wrap=True)
    table.add_column(last, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_printable(str(cell))) for cell in row))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def print_json(value: Any) -> None:
    """JSON on standard output, for programs."""
    typer.echo(dumped(value))


WORKER_HEADINGS = ("worker", "state", "since", "lag", "waiting", "told")


def worker_row(worker: WorkerStatus) -> tuple[object, ...]:
    """What a worker told of a destination, in one line of a table."""
    return (
        worker.worker,
        f"stale (was {worker.state})" if worker.stale else worker.state,
        (worker.since or "")[:19],
        "" if worker.lag is None else worker.lag,
        "" if worker.waiting is None else worker.waiting,
        f"{worker.age:.0f} s ago",
    )


AUDIT_HEADINGS = ("at", "who", "what", "on", "events", "why")


def audit_row(audit: AuditRecord) -> tuple[object, ...]:
    """What somebody did by hand, in one line of a table."""
    count = "" if audit.count is None else audit.count
    return audit.at[:19], audit.who, audit.what, audit.on, count, audit.why


def row(letter: DeadLetter) -> tuple[object, ...]:
    """A letter in one line of a table."""
    state = " (handled)" if letter.handled else ""
    return (
        letter.place,
        f"{_time(letter.time)}{state}",
        letter.shown_key,
        letter.type,
        letter.stage,
        letter.attempts,
        letter.cause,
        letter.error,
        letter.message,
    )


ROW = ("place", "died", "key", "type", "stage", "attempts", "cause", "error", "message")


def cause_row(cause: CauseGroup) -> tuple[object, ...]:
    """A cause in one line of a table."""
    return (
        cause.example.cause if cause.message else "",
        cause.count,
        _time(cause.first),
        _time(cause.last),
        cause.stage,
        cause.error,
        cause.example.place,
        cause.message or "(others)",
    )


CAUSE_ROW = ("cause", "letters", "first", "last", "stage", "error", "example", "message")


def as_json(letter: DeadLetter) -> dict[str, Any]:
    """What a line of ``list --json`` says of a letter."""
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "time": letter.time,
        "key": None if letter.key is None else letter.shown_key,
        "id": letter.event_id,
        "type": letter.type,
        "stage": letter.stage,
        "cause": letter.cause,
        "error": letter.error,
        "message": letter.message,
        "attempts": letter.attempts,
        "came_from": letter.came_from,
        "handled": letter.handled,
    }


def cause_as_json(cause: CauseGroup) -> dict[str, Any]:
    """What ``group --json`` says of a cause."""
    return {
        "cause": cause.example.cause if cause.message else None,
        "count": cause.count,
        "first": cause.first,
        "last": cause.last,
        "stage": cause.stage,
        "error": cause.error,
        "message": cause.message,
        "example": as_json(cause.example),
    }


def whole_as_json(letter: DeadLetter, decode: Decode) -> dict[str, Any]:
    """What ``show --json`` says: everything. Of a value that cannot be decoded ``value`` is null;
    ``raw_key`` and ``raw_value`` are the bytes in hex, and null where there are none."""
    value, unreadable = _decoded(letter.value, decode)
    return {
        **as_json(letter),
        "headers": [[name, printable(raw)] for name, raw in letter.headers],
        "raw_key": None if letter.key is None else letter.key.hex(),
        "raw_value": None if letter.value is None else letter.value.hex(),
        "value": value,
        "unreadable": unreadable,
    }


def whole(letter: DeadLetter, decode: Decode) -> str:
    """What ``show`` prints: everything, the traceback last."""
    state = " (handled)" if letter.handled else ""
    lines = [
        f"{letter.topic} {letter.place}{state}, cause {letter.cause}",
        f"key: {'none' if letter.key is None else letter.shown_key}",
        *(f"{name}: {printable(raw)}" for name, raw in letter.headers if name != TL_TRACEBACK),
        *_value_lines(letter.value, decode),
    ]
    if traceback := letter.header(TL_TRACEBACK):
        lines += ["", traceback.rstrip()]
    return "\n".join(map(_printable, lines))


def dumped(told: Any, *, indent: bool = True) -> str:
    """JSON of anything that Avro can hold."""
    return json.dumps(told, default=_plain, indent=2 if indent else None, ensure_ascii=False)


def _value_lines(value: bytes | None, decode: Decode) -> list[str]:
    if value is None:
        return ["value: none"]
    decoded, unreadable = _decoded(value, decode)
    if unreadable is None:
        return [f"value ({len(value)} bytes): {dumped(decoded)}"]
    return [f"value ({len(value)} bytes, in hex: {unreadable}): {value.hex()}"]


def _decoded(value: bytes | None, decode: Decode) -> tuple[Any, str | None]:
    """The value, and why it cannot be read. A source's dead letter is the record as JSON."""
    if value is None:
        return None, None
    if value[:1] == b"{":
        try:
            return json.loads(value), None
        except ValueError as error:
            return None, f"no JSON: {error}"
    try:
        return decode(value), None
    except TrunklineError as error:
        return None, str(error)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor or change its colours: messages are others'."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
