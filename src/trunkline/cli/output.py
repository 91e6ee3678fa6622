"""What commands print: tables and JSON, of workers, requests, audits and dead letters."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trunkline.admin.backlog import Backlog
from trunkline.admin.dead_letters import LetterValue
from trunkline.admin.replays import RequestStatus
from trunkline.admin.status import HeldEvent, WorkerStatus
from trunkline.headers import TL_TRACEBACK
from trunkline.masking import escaped
from trunkline.streams.control.audit import AuditRecord
from trunkline.streams.dlq.cause_groups import CauseGroup
from trunkline.streams.dlq.letters import DeadLetter, printable

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
        # As Text, since rich reads markup in strings: the error "[/orders] refused" would lose its
        # word in brackets or raise, and what an API answers could colour the terminal.
        table.add_row(*(Text(escaped(str(cell))) for cell in row))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def dumped(value: Any, *, indent: bool = True) -> str:
    """JSON of anything that Avro can hold."""
    return json.dumps(value, default=_plain, indent=2 if indent else None, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_json(value: Any) -> None:
    """JSON on standard output, for programs."""
    typer.echo(dumped(value))


WORKER_HEADINGS = ("worker", "state", "since", "until", "lag", "waiting", "told")


def worker_row(worker: WorkerStatus) -> tuple[object, ...]:
    """What a worker told of a destination, in one line of a table."""
    return (
        worker.worker,
        f"stale (was {worker.state})" if worker.stale else worker.state,
        (worker.since or "")[:19],
        (worker.until or "")[:19],
        "" if worker.lag is None else worker.lag,
        "" if worker.waiting is None else worker.waiting,
        f"{worker.age:.0f} s ago",
    )


def backlog_in_words(backlog: Backlog) -> str:
    """What a destination has yet to get, as a person says it."""
    bound = "" if backlog.exact else "at most "
    return f"{bound}{backlog.inbox:,} in the inbox, {bound}{backlog.retries:,} in retry topics"


def held_in_words(held: HeldEvent, what: str = "found it unavailable") -> str:
    """An event that a destination, or routing, holds, as a person says it."""
    event = f"the event {held.id} of key {held.key} ({held.place})"
    return escaped(f"{event} {what} {held.times} times since {held.since[:19]}: {held.error}")


def halted_in_words(halted: HeldEvent) -> str:
    """A key that waits for a person, as a person says it."""
    event = f"the event {halted.id} ({halted.place})"
    times = "once" if halted.times == 1 else f"{halted.times} times"
    failed = f"failed {times}, first at {halted.since[:19]}: {halted.error}"
    return escaped(f"key {halted.key} waits behind {event}, which {failed}")


REQUEST_HEADINGS = ("id", "what", "to", "state", "asked for", "by", "so far")


def request_row(status: RequestStatus) -> tuple[object, ...]:
    """A replay, re-drive or discard in one line of a table."""
    one, counts = status.request, counts_in_words(status.counts)
    return one.id, one.kind, one.destination, one.state, one.at, one.by, counts


PARTITION_HEADINGS = ("partition", "next", "range", "so far")


def partition_rows(status: RequestStatus) -> Iterator[tuple[object, ...]]:
    """How far a request is in each canonical partition, in one line each."""
    for (topic, number), progress in status.partitions.items():
        offsets = status.request.ranges.get((topic, number))
        yield (
            f"{topic}/{number}",
            "done" if progress.done else _next(progress.next),
            "" if offsets is None else f"{offsets.start} to {offsets.stop}",
            counts_in_words(progress.counts),
        )


def _next(place: object) -> object:
    """Where a partition goes on: an offset, or of dead letters their partition and the offset."""
    return "" if place is None else place


def request_as_json(status: RequestStatus) -> dict[str, Any]:
    """What ``replay list --json`` and ``replay status --json`` say of a request."""
    partitions = status.partitions.items()
    return {
        "id": status.request.id,
        **status.request.to_record(),
        "counts": dict(status.counts),
        "partitions": {f"{topic}/{n}": progress.to_record() for (topic, n), progress in partitions},
    }


def counts_in_words(counts: Mapping[str, int]) -> str:
    """What became of a request's events, as "412 sent, 3 superseded"."""
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing yet"


AUDIT_HEADINGS = ("at", "who", "what", "on", "events", "why")


def audit_row(audit: AuditRecord) -> tuple[object, ...]:
    """What somebody did, in one line of a table."""
    count = "" if audit.count is None else audit.count
    return audit.at[:19], audit.who, audit.what, audit.on, count, audit.why


LETTER_HEADINGS = ("place", "died", "key", "type", "stage", "attempts", "cause", "error", "message")


def letter_row(letter: DeadLetter) -> tuple[object, ...]:
    """A letter in one line of a table."""
    state = " (handled)" if letter.handled else ""
    return (
        letter.place,
        f"{_to_the_second(letter.time)}{state}",
        letter.shown_key,
        letter.type,
        letter.stage,
        letter.attempts,
        letter.cause,
        letter.error,
        letter.message,
    )


CAUSE_HEADINGS = ("cause", "letters", "first", "last", "stage", "error", "example", "message")


def cause_row(cause: CauseGroup) -> tuple[object, ...]:
    """A cause in one line of a table."""
    return (
        cause.example.cause if cause.message else "",
        cause.count,
        _to_the_second(cause.first),
        _to_the_second(cause.last),
        cause.stage,
        cause.error,
        cause.example.place,
        cause.message or "(others)",
    )


def letter_as_json(letter: DeadLetter) -> dict[str, Any]:
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
        "violations": letter.violations,
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
        "example": letter_as_json(cause.example),
    }


def whole_as_json(letter: DeadLetter, value: LetterValue) -> dict[str, Any]:
    """What ``show --json`` says: everything. Of a value that cannot be decoded ``value`` is null;
    ``raw_key`` and ``raw_value`` are the bytes in hex, and null where there are none; so is the
    value in which something personal is hidden."""
    return {
        **letter_as_json(letter),
        "headers": [[name, printable(raw)] for name, raw in letter.headers],
        "raw_key": None if letter.key is None else letter.key.hex(),
        "raw_value": None if letter.value is None or value.hidden else letter.value.hex(),
        "value": value.data,
        "unreadable": value.unreadable,
    }


def whole(letter: DeadLetter, value: LetterValue) -> str:
    """What ``show`` prints: everything, the traceback last."""
    state = " (handled)" if letter.handled else ""
    lines = [
        f"{letter.topic} {letter.place}{state}, cause {letter.cause}",
        escaped(f"key: {'none' if letter.key is None else letter.shown_key}"),
        *(
            escaped(f"{name}: {printable(raw)}")
            for name, raw in letter.headers
            if name != TL_TRACEBACK
        ),
        _value_line(letter.value, value),
    ]
    if traceback := letter.header(TL_TRACEBACK):
        lines += ["", traceback.rstrip()]
    return "\n".join(escaped(line, keep="\n\t") for line in lines)


def _value_line(raw: bytes | None, value: LetterValue) -> str:
    if raw is None:
        return "value: none"
    if value.unreadable is None:
        return f"value ({len(raw)} bytes): {dumped(value.data)}"
    return f"value ({len(raw)} bytes, in hex: {value.unreadable}): {raw.hex()}"


def _to_the_second(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
