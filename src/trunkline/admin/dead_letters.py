"""Asking for dead letters to be re-driven or discarded.

A destination's are handled by the workers that route their homes, which find the request in the
control topic; a source's can only be discarded, which is done at once. Either is audited in the
transaction of its first record.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from trunkline.admin.audit import put_audited
from trunkline.params import Backbone
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.streams.control.records import HandledKey, ReplayKey
from trunkline.streams.dlq.handled import NO_ORIGIN, Handled
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.dlq.queue import Ranges
from trunkline.times import iso

Kind = Literal["redrive", "discard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to become of which dead letters of a destination.

    ``topic``, ``ranges``: the set, frozen: what arrives later is not part of it, nor what a
    ``limit`` leaves out: no more letters that are meant are in them. ``rate``: letters a second,
    over all workers. ``force``: also those that are handled, or that a newer event of their key
    has overtaken. ``count``: how many are meant.
    """

    kind: Kind
    destination: str
    topic: str
    ranges: Ranges
    selection: DeadLetterFilter = field(default_factory=DeadLetterFilter)
    limit: int | None = None
    rate: float | None = None
    force: bool = False
    why: str = ""
    count: int | None = None

    def value(self) -> dict[str, Any]:
        """The control record ``replay/<id>``."""
        return {
            "kind": self.kind,
            "destination": self.destination,
            "ranges": {f"{self.topic}/{n}": list(r) for n, r in sorted(self.ranges.items())},
            **self.selection.to_request(),
            "limit": self.limit,
            "rate": self.rate,
            "mode": "state",
            "force": self.force,
            "by": who(),
            "why": self.why,
            "at": iso(time.time()),
            "count": self.count,
            "state": "running",
        }


def submit(backbone: Backbone, flow: str, request: Request) -> str:
    """Put the request into the flow's control topic; returns its id. The workers that route do
    what it says, as soon as some run. Blocks. Raises KafkaUnavailable."""
    id = uuid.uuid4().hex[:12]
    value = request.value()
    told = {k: v for k, v in value.items() if v and k not in ("kind", "destination", "state")}
    audit = AuditRecord(
        what=request.kind,
        on=request.destination,
        why=request.why,
        who=value["by"],
        at=value["at"],
        count=request.count,
        id=id,
        more={name: told[name] for name in told.keys() - {"by", "why", "at", "count"}},
    )
    put_audited(backbone, flow, {ReplayKey(id).text: value}, audit)
    return id


def discard_of_source(
    backbone: Backbone, flow: str, source: str, handled: Handled, count: int, why: str
) -> None:
    """Write which dead letters of a source are handled. Nobody else writes that record: of two
    commands at the same moment the later one wins, and what the other discarded shows again.
    Blocks. Raises KafkaUnavailable."""
    change = {HandledKey(source, NO_ORIGIN).text: handled.encode()}
    put_audited(
        backbone, flow, change, AuditRecord(what="discard", on=source, why=why, count=count)
    )


def discarded(
    letters: Iterable[DeadLetter], selection: DeadLetterFilter, limit: int | None
) -> tuple[Handled, int]:
    """What is handled once those of ``letters`` that are meant are discarded, at most ``limit``,
    and how many these are. ``letters``: all of a queue, also those that are handled already."""
    handled, count = Handled(), 0
    start: dict[int, int] = defaultdict(int)
    for letter in letters:
        meant = not letter.handled and selection.matches(letter)
        if meant and (limit is None or count < limit):
            count += 1
        elif not letter.handled:
            start[letter.partition] = letter.offset + 1
            continue
        handled.add(letter.partition, start[letter.partition], letter.offset + 1)
    return handled, count
