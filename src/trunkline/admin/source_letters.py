"""Dead letters of a source, sent again through what its flow says today.

What no function could map goes through today's function of its topic; what the source itself could
not read, as a file's line, through today's source first. They never became events, so no worker has
them: whoever asks for it makes the events, by the flow's file, and publishes them. For a webhook it
is the only way, since its caller does not call again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import merge
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from trunkline import kafka, naming
from trunkline.admin.audit import AuditedWriter
from trunkline.admin.dead_letters import DeadLetters, after_handling
from trunkline.connectors.base import Source
from trunkline.errors import ConfigurationError, DataError, TrunklineError
from trunkline.event import Record, replaced
from trunkline.headers import CE_ID, TL_ORDER, TL_REDRIVEN
from trunkline.kafka import ProducerRecord
from trunkline.kafka.reading import records, watermarks
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.streams.control.records import HandledKey
from trunkline.streams.dlq.handled import NO_ORIGIN
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.source import AnySource
from trunkline.streams.publish.kept_records import record_of
from trunkline.streams.publish.publisher import Publisher
from trunkline.streams.worker.compiler import Compiler
from trunkline.times import epoch_seconds, iso

MAX_LETTERS = 5_000
"""Letters of one command: they are published in one transaction."""
MAX_BYTES = 64_000_000
"""Bytes of their values."""
BEFORE = timedelta(minutes=1)
"""How long before a letter its event may have been published to another topic: clocks differ."""


@dataclass(slots=True)
class SourceRedrive:
    """What became of a source's letters. ``sent``: published; ``superseded``: handled without
    that, since a newer event of their key was published meanwhile; ``refused``: those that today's
    function or schema refuses as well, with the reason; ``left``: those beyond one command."""

    sent: list[DeadLetter] = field(default_factory=list)
    superseded: list[DeadLetter] = field(default_factory=list)
    refused: list[tuple[DeadLetter, str]] = field(default_factory=list)
    left: int = 0


def redrive_source(
    letters: DeadLetters,
    flow: Flow[Any],
    selection: DeadLetterFilter | None = None,
    *,
    limit: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    why: str = "",
    by: str = "",
    build: Callable[[], AnySource] | None = None,
) -> SourceRedrive:
    """Publish a source's letters that are selected, at most ``limit``, through the functions that
    ``flow`` has now. Events have the ids that they would have had, and those of a key the order in
    which their letters died.

    ``build``: makes the source as it is today, for letters that it could not read: without it they
    are refused. It is asked at most once, and reads nothing of its system.
    ``force``: also what is handled or superseded. ``dry_run``: write nothing. ``by``: who asks; the
    user of this process by default. Blocks. Writes the events, which letters are handled, and an
    audit record in one transaction; of two commands at once the older one writes nothing, or the
    newer one knows what that has written. Raises ConfigurationError where the flow has no such
    source, KafkaUnavailable, RegistryUnavailable.
    """
    definition = next((s for s in flow.sources if s.dlq == letters.target.dlq), None)
    if definition is None or not letters.is_source:
        raise ConfigurationError(f"the flow {flow.name!r} has no source {str(letters.target)!r}")
    done, writer = SourceRedrive(), None
    if not dry_run:  # first: what a command before this one has written is seen from now on
        writer = letters.writer(f"redrive {letters.target.destination}")
        letters = letters.reread()
    with closing(registry_of(letters.backbone)) as registry:
        backbone = letters.backbone
        compiler = Compiler(
            flow,
            Codec(registry),
            register=backbone.create,
            subjects=backbone.registry_subjects,
        )
        publisher = compiler.publisher(definition)
        chosen = list(_chosen(letters, selection or DeadLetterFilter(), limit, force, done))
        with closing(_Reader(build)) as reader:
            made = {_place(letter): _made(letter, reader, publisher, done) for letter in chosen}
    topics = sorted({topic.topic for topic in flow.topics if definition in topic.sources})
    newest = _Newest(letters, topics, chosen, made.values())
    events: list[ProducerRecord] = []
    for letter in chosen:
        records_of = made[_place(letter)]
        if records_of is None:
            continue
        fresh = [one for one in records_of if force or not newest.supersedes(one, letter)]
        if fresh or not records_of:  # the function may leave a record out now
            done.sent.append(letter)
            events += (_redriven(one, letter) for one in fresh)
        else:
            done.superseded.append(letter)
    if (done.sent or done.superseded) and writer is not None:
        _write(letters, done, events, writer, why, by or who())
    return done


def _chosen(
    letters: DeadLetters,
    selection: DeadLetterFilter,
    limit: int | None,
    force: bool,
    done: SourceRedrive,
) -> Iterator[DeadLetter]:
    """The letters of this command, in the order in which they died."""
    found: dict[int, list[DeadLetter]] = defaultdict(list)
    for letter in _first(letters, selection, limit, force, done):
        found[letter.partition].append(letter)
    # A letter without a key, as that of a line, may stand in another partition than one of the same
    # entity that has it. Within a partition the order is what it is, whatever clocks said.
    return merge(*found.values(), key=lambda letter: (letter.time, _order(letter.header(TL_ORDER))))


def _first(
    letters: DeadLetters,
    selection: DeadLetterFilter,
    limit: int | None,
    force: bool,
    done: SourceRedrive,
) -> Iterator[DeadLetter]:
    count = size = 0
    for letter in letters.letters(selection, handled=force):
        size += len(letter.value or b"")
        if limit is not None and count >= limit:
            return
        if count >= MAX_LETTERS or size > MAX_BYTES:
            done.left += 1
            continue
        count += 1
        yield letter


class _Reader:
    """The records of letters; of those that the source could not read, what it reads today."""

    def __init__(self, build: Callable[[], AnySource] | None) -> None:
        self._build = build
        self._source: AnySource | None = None

    def record(self, letter: DeadLetter) -> Record:
        """A letter's record. Raises DataError with the reason where there still is none."""
        record = record_of(letter)
        if record.unreadable is None:
            return record
        if self._source is None:
            if self._build is None:
                raise DataError("the source must read it again, which nobody has built")
            try:
                self._source = self._build()
            except TrunklineError as error:
                raise DataError(f"the source cannot be built, to read it again: {error}") from error
        if not isinstance(self._source, Source):
            raise DataError("its caller sent what the source cannot read: it must send it again")
        try:
            again = self._source.read_again(record)
        except TrunklineError:  # a registry that does not answer is nobody's reason to refuse
            raise
        except Exception as error:
            raise DataError(f"read_again: {type(error).__name__}: {error}") from error
        if again.unreadable is not None:
            raise again.unreadable.error
        return again

    def close(self) -> None:
        """Release the source, if one was built."""
        if isinstance(self._source, Source):
            self._source.close()


def _made(
    letter: DeadLetter, reader: _Reader, publisher: Publisher, done: SourceRedrive
) -> list[ProducerRecord] | None:
    """The events of a letter; None, and a reason, where it is refused today as well."""
    try:
        result = publisher.publish([reader.record(letter)])
    except DataError as error:
        done.refused.append((letter, str(error)))
        return None
    if result.dead:
        _, reason = next(iter(result.refused.values()))
        done.refused.append((letter, f"{type(reason).__name__}: {reason}"))
        return None
    return result.records


def _redriven(event: ProducerRecord, letter: DeadLetter) -> ProducerRecord:
    """The event of a letter, which tells how old it is: it is published behind letters of its key
    that died after it, and must not make them old when they are sent by a later command."""
    told = {TL_REDRIVEN: iso(letter.written.timestamp()).encode()}
    if order := letter.header(TL_ORDER):
        told[TL_ORDER] = order.encode()
    own = [header for header in event.headers if header[0] != TL_ORDER]
    return event._replace(headers=replaced(own, told))


class _Newest:
    """What was published of some keys since their letters died: when last, and with which ids. An
    event that was made of a letter is as old as that."""

    def __init__(
        self,
        letters: DeadLetters,
        topics: Sequence[str],
        chosen: Sequence[DeadLetter],
        made: Iterable[list[ProducerRecord] | None],
    ) -> None:
        # When last, of events with a number of their order and of those without; and the number.
        self._numbered: dict[tuple[str, bytes], float] = {}
        self._written: dict[tuple[str, bytes], float] = {}
        self._orders: dict[tuple[str, bytes], int] = {}
        self._ids: set[tuple[str, bytes]] = set()
        wanted = {(one.topic, one.key or b"") for some in made if some for one in some}
        if not wanted:
            return
        since = min(letter.written for letter in chosen) - BEFORE
        for message in _published(letters, topics, since):
            place = message.topic() or "", message.key() or b""
            if place in wanted:
                headers = dict(message.headers() or [])
                at = epoch_seconds((headers.get(TL_REDRIVEN) or b"").decode())
                at = at or message.timestamp()[1] / 1000
                order = _order((headers.get(TL_ORDER) or b"").decode(errors="replace"))
                times = self._numbered if order else self._written
                times[place] = max(at, times.get(place, 0.0))
                self._orders[place] = max(order, self._orders.get(place, 0))
                self._ids.add((place[0], headers.get(CE_ID) or b""))

    def supersedes(self, event: ProducerRecord, letter: DeadLetter) -> bool:
        """Whether the letter's event is published already, or a newer one of its key. One without a
        number that has the letter's millisecond came before it."""
        place, died = (event.topic, event.key or b""), letter.written.timestamp()
        newer = self._written.get(place, 0.0) > died
        if order := _order(letter.header(TL_ORDER)):
            newer = newer or self._orders.get(place, 0) > order
        else:
            newer = newer or self._numbered.get(place, 0.0) > died
        return newer or (event.topic, dict(event.headers)[CE_ID]) in self._ids


def _published(letters: DeadLetters, topics: Sequence[str], since: datetime) -> Iterator[Any]:
    """The records of canonical topics that were written since then."""
    backbone = letters.backbone
    there = kafka.existing_topics(kafka.admin(backbone), expected=topics)
    group = naming.dlq_reader(letters.target.dlq)
    try:
        with closing(kafka.consumer(backbone, group, eof=True)) as client:
            at = int(since.timestamp() * 1000)
            asked = [
                TopicPartition(topic, number, at)
                for topic in topics
                for number in range(there.get(topic, 0))
            ]
            ranges = {}
            for start in client.offsets_for_times(asked, timeout=30) if asked else []:
                place = (start.topic, start.partition)
                held = watermarks(client, place)
                begin = start.offset if start.offset >= 0 else held.stop
                ranges[place] = range(begin, held.stop)
            if any(ranges.values()):
                yield from records(client, ranges)
    except KafkaException as failure:
        what = f"{', '.join(topics)} could not be read"
        raise kafka.unavailable(what, failure, group=group) from failure


def _write(
    letters: DeadLetters,
    done: SourceRedrive,
    events: Sequence[ProducerRecord],
    writer: AuditedWriter,
    why: str,
    by: str,
) -> None:
    target = letters.target
    places = {_place(letter) for letter in (*done.sent, *done.superseded)}
    handled, _ = after_handling(letters.letters(handled=True), lambda one: _place(one) in places)
    audit = AuditRecord(
        what="redrive",
        on=target.destination,
        why=why,
        who=by,
        count=len(done.sent),
        at=iso(time.time()),
    )
    change = {HandledKey(target.destination, NO_ORIGIN).text: handled.to_record()}
    writer.put(change, audit, events=events)


def _order(header: str) -> int:
    """The number; 0 for none, or for what is no number: anybody may write to these topics."""
    return int(header) if header.isascii() and header.isdigit() and len(header) < 20 else 0


def _place(letter: DeadLetter) -> tuple[int, int]:
    return letter.partition, letter.offset
