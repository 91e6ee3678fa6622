"""Dead letters of a source: discarded at once, by whoever asks.

Those of a destination are re-driven or discarded by the workers that route: ``replays.submit``. No
worker routes those of a source, which never became events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from trunkline.admin.audit import put_audited
from trunkline.params import Backbone
from trunkline.streams.control.audit import AuditRecord
from trunkline.streams.control.records import HandledKey
from trunkline.streams.dlq.handled import NO_ORIGIN, Handled
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter


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
