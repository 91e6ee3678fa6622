"""Dead letters of a destination or a source: read, grouped, sent again, discarded.

Those of a destination are handled by the workers that route the topics they came from, as a request
in the control topic asks for. No worker routes a source's: its letters never became events. Whoever
asks for it discards them at once, or makes events of them (``source_letters``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from trunkline.admin.audit import AuditedWriter
from trunkline.admin.replays import submit_request
from trunkline.admin.targets import Target, require_letters
from trunkline.errors import ConfigurationError, TrunklineError
from trunkline.headers import TL_PERSONAL
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec, Decode
from trunkline.schemas.personal import holds_hidden, without_names
from trunkline.schemas.registry import registry_of
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.control.records import HandledKey
from trunkline.streams.dlq.cause_groups import CauseGroup, group_by_cause
from trunkline.streams.dlq.handled import NO_ORIGIN, Handled, HandledLetters
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.dlq.queue import DeadLetterQueue, covering_ranges
from trunkline.streams.replay.request import Request, RequestKind

_NO_REDRIVE = (
    "{source} is a source: its dead letters never became events. To send them through today's "
    "function give the flow's file, which makes the events: --flow flows/orders.py (in a program: "
    "redrive_source); or let the source tell these records again, and discard the letters"
)


@dataclass(frozen=True, slots=True)
class LetterValue:
    """A dead letter's value, decoded, ``***`` for what is personal in it. ``unreadable``: why it
    cannot be; ``data`` is None then. ``hidden``: whether its bytes may hold what is personal."""

    data: Any
    unreadable: str | None = None
    hidden: bool = False


def open_dead_letters(backbone: Backbone, target: Target) -> DeadLetters:
    """The dead letters of a destination, or of a source of a flow, as they are now: what dies later
    is not among them, nor is it known what others re-drive or discard from now on.

    Blocks; writes nothing. Raises ConfigurationError if there is no such destination or it has no
    dead-letter queue, and KafkaUnavailable.
    """
    topics = require_letters(backbone, target)
    handled = HandledLetters(read_control(backbone, target.control), target.destination)
    queue = DeadLetterQueue(backbone, target.dlq, handled)
    # A source has no inbox: nothing is delivered to it.
    return DeadLetters(backbone, target, target.inbox not in topics, queue)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A dead-letter queue at one moment; see ``open_dead_letters``.

    All methods that read block, and raise KafkaUnavailable. A queue may be of any length: letters
    are read as they are asked for, and none is kept. ``is_source``: whether they are a source's.
    """

    backbone: Backbone = field(repr=False)
    target: Target
    is_source: bool
    queue: DeadLetterQueue = field(repr=False)

    def reread(self) -> DeadLetters:
        """The same letters, with what is handled of them by now."""
        handled = HandledLetters(
            read_control(self.backbone, self.target.control), self.target.destination
        )
        return replace(self, queue=self.queue.with_handled(handled))

    def writer(self, what: str) -> AuditedWriter:
        """What writes which letters of a source are handled. Whoever makes it must ``reread`` then:
        of two commands at once the newer one sees what the older has written, or that writes
        nothing. With an id each, two would publish the same letters."""
        role = f"letters-{self.target.destination}"
        return AuditedWriter(self.backbone, self.target.flow, what, role=role)

    def letters(
        self, selection: DeadLetterFilter | None = None, *, handled: bool = False
    ) -> Iterator[DeadLetter]:
        """The letters that the filter selects, in order within a partition. With ``handled`` also
        those that were re-driven or discarded."""
        return self.queue.letters(selection, handled=handled)

    def at(self, partition: int, offset: int) -> DeadLetter:
        """The letter at this place, handled or not. Raises ConfigurationError if there is none."""
        letter = self.queue.at(partition, offset)
        if letter is None:
            raise ConfigurationError(
                f"{self.target.dlq} has no dead letter at {partition}/{offset}"
            )
        return letter

    def value(self, letter: DeadLetter) -> LetterValue:
        """The letter's value, decoded with the schema that wrote it, which the registry is asked
        for. A registry that does not answer is a reason why the value is unreadable, no error."""
        with closing(registry_of(self.backbone)) as registry:
            return decoded(letter, Codec(registry).shown_decoder())

    def causes(
        self,
        selection: DeadLetterFilter | None = None,
        *,
        handled: bool = False,
        limit: int | None = None,
    ) -> list[CauseGroup]:
        """What the selected letters died of, the most frequent cause first; ``limit``: count only
        the first letters."""
        return group_by_cause(islice(self.letters(selection, handled=handled), limit))

    def plan_redrive(
        self,
        selection: DeadLetterFilter | None = None,
        *,
        limit: int | None = None,
        rate: float | None = None,
        force: bool = False,
        why: str = "",
    ) -> Request:
        """The request to send the selected letters to the destination again, at most ``limit``.

        Its ``count`` says how many they are. ``rate``: events a second, over all workers;
        ``force``: also those that are handled, or superseded by a newer event of their key. Writes
        nothing: see ``causes_of`` and ``submit``. Raises ConfigurationError for a source.
        """
        if self.is_source:
            raise ConfigurationError(_NO_REDRIVE.format(source=self.target))
        planned = self._planned("redrive", selection, limit, force=force)
        return replace(planned, rate=rate, why=why)

    def plan_discard(
        self,
        selection: DeadLetterFilter | None = None,
        *,
        limit: int | None = None,
        why: str = "",
    ) -> Request:
        """The request to count the selected letters as handled without sending them, at most
        ``limit``. Its ``count`` says how many they are. Writes nothing: see ``submit``."""
        return replace(self._planned("discard", selection, limit), why=why)

    def causes_of(self, request: Request) -> list[CauseGroup]:
        """What the letters died of that a planned request is about."""
        return self.causes(request.selection, handled=request.force, limit=request.limit)

    def submit(self, request: Request, *, by: str = "") -> Request:
        """Hand a planned request to the workers; returns it as it is written.

        A source's letters are discarded before this returns: then the request's state is "done",
        and no worker ever hears of it. ``by``: who asks; the user of this process by default.
        Blocks. Writes the control record and an audit record in one transaction. Raises
        ConfigurationError for a request that is about no letters, and KafkaUnavailable.
        """
        if not request.count:
            raise ConfigurationError(f"{self.target}: no dead letters to {request.kind}")
        if not self.is_source:
            return submit_request(self.backbone, self.target.flow, request, by=by)
        return self._discard_of_source(replace(request, by=by or who()))

    def _planned(
        self,
        kind: RequestKind,
        selection: DeadLetterFilter | None,
        limit: int | None,
        *,
        force: bool = False,
    ) -> Request:
        ranges, count = covering_ranges(islice(self.letters(selection, handled=force), limit))
        return Request(
            kind=kind,
            destination=self.target.destination,
            ranges=ranges,
            selection=selection or DeadLetterFilter(),
            limit=limit,
            force=force,
            count=count,
        )

    def _discard_of_source(self, request: Request) -> Request:
        """Write which letters are handled now."""
        writer = self.writer(f"discard {self.target.destination}")
        everything = self.reread().letters(handled=True)
        handled, count = after_discard(everything, request.selection, request.limit)
        audit = AuditRecord(
            what="discard",
            on=self.target.destination,
            why=request.why,
            who=request.by,
            count=count,
            id=request.id,
        )
        change = {HandledKey(self.target.destination, NO_ORIGIN).text: handled.to_record()}
        writer.put(change, audit)
        return replace(request, count=count, at=audit.at).with_state(
            "done", counts={"discarded": count}
        )


def decoded(letter: DeadLetter, decode: Decode) -> LetterValue:
    """The letter's value. What a source could not make an event of is its record as JSON, in which
    fields are hidden by their names; all else is what ``decode`` says, in Avro."""
    return decoded_value(letter.value, decode, letter.header(TL_PERSONAL))


def decoded_value(raw: bytes | None, decode: Decode, personal: str = "") -> LetterValue:
    """As ``decoded``, of any record's value. ``personal``: names, with commas between them."""
    if raw is None:
        return LetterValue(None)
    if raw[:1] == b"{":  # Avro in the wire format begins with a zero byte
        try:
            data = json.loads(raw)
            shown = without_names(data, frozenset(filter(None, personal.split(","))))
            return LetterValue(shown, hidden=shown != data)
        except (ValueError, RecursionError) as error:
            return LetterValue(None, f"no JSON: {error}", hidden=bool(personal))
    try:
        data = decode(raw)
        return LetterValue(data, hidden=holds_hidden(data))
    except TrunklineError as error:
        return LetterValue(None, str(error), hidden=bool(personal))


def after_discard(
    letters: Iterable[DeadLetter], selection: DeadLetterFilter, limit: int | None
) -> tuple[Handled, int]:
    """What is handled once those of ``letters`` that are selected are discarded, at most ``limit``,
    and how many these are. ``letters``: all of a queue, also those that are handled already."""
    return after_handling(letters, selection.matches, limit)


def after_handling(
    letters: Iterable[DeadLetter], selects: Callable[[DeadLetter], bool], limit: int | None = None
) -> tuple[Handled, int]:
    """As ``after_discard``, for letters that a function selects."""
    handled, count = Handled(), 0
    # By partition: the offset behind the last letter that stays unhandled. What stands between it
    # and the next handled letter are transaction markers, which nobody will ever re-drive: with
    # them a queue that is discarded whole is one run, and its record stays short.
    start: dict[int, int] = defaultdict(int)
    for letter in letters:
        meant = not letter.handled and selects(letter)
        if meant and (limit is None or count < limit):
            count += 1
        elif not letter.handled:
            start[letter.partition] = letter.offset + 1
            continue
        handled.add(letter.partition, start[letter.partition], letter.offset + 1)
    return handled, count
