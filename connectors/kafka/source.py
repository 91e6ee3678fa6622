"""KafkaSource: the records of topics of another Kafka cluster."""

from __future__ import annotations

import re
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from confluent_kafka import Message

from trunkline.connectors.base import Batch, Finding, Position, Source
from trunkline.connectors.kafka.avro import AvroReader
from trunkline.connectors.kafka.cluster import KafkaCluster
from trunkline.connectors.kafka.reader import Start, TopicReader
from trunkline.connectors.kafka.topics import Stopped, TopicQuestions
from trunkline.connectors.kafka.values import (
    MALFORMED,
    KeyFormat,
    ValueFormat,
    key_reader,
    key_text,
    table_of,
    value_reader,
)
from trunkline.errors import SCHEMA_UNAVAILABLE, ConfigurationError, DataError, SourceError
from trunkline.event import Change, Record, Unreadable
from trunkline.kafka.messages import partition_of
from trunkline.times import parse_duration

_TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_MOST = 100_000
_LATER = 10.0
"""Seconds until a batch without records tells that offsets moved, as behind transaction markers."""
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class Interpreted:
    """What a message says. ``time``: None for that of the message itself."""

    key: str
    data: dict[str, Any]
    change: Change = "create"
    time: datetime | None = None


class RawMessage(NamedTuple):
    """A message's bytes, and the partition that it is in."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


class KafkaSource(Source):
    """Reads topics of another Kafka cluster, or foreign topics of Trunkline's own.

    ``cluster``: where. ``topics``: their names; one that is not there yet is waited for.
    ``value``: "json", "avro" (of the cluster's registry), "text" or "bytes". ``key``: "text",
    "json", "avro", "int" (of Java's serializers) or "hex"; of a key with fields the text is that
    of the one field, or of all (``join_key``). ``start``: where a topic begins that was never read,
    "earliest" or "latest". ``headers_field``: a field of ``data`` for the message's headers.
    ``interval``: from one look at topics and partitions to the next. ``batch``: records of a batch.

    Records: ``stream`` is the topic; ``data`` the value's fields, or ``{"value": …}`` of a value
    that has none; ``change`` "create", or "delete" of a message without a value; ``time`` the
    message's; ``place`` topic/partition/offset; ``id`` of the topic's id, partition and offset.

    Guarantees: committed messages only, those of a partition in their order, none left out and none
    twice beyond what the engine repeats. Reads in no consumer group, and commits no offset there:
    the position is ours. Another cluster, a topic that was deleted or made anew, and messages that
    are gone before they were read stop the source, which says so. What cannot be read is a dead
    letter with the value's bytes.

    Raises ConfigurationError for arguments that cannot work; ``read`` raises it for what only a
    person can mend, and SourceError for what may pass.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topics: str | Sequence[str],
        *,
        value: ValueFormat = "json",
        key: KeyFormat = "text",
        start: Start = "earliest",
        headers_field: str = "",
        interval: str = "10s",
        batch: int = 2000,
    ) -> None:
        self._cluster = cluster
        self._topics = [topics] if isinstance(topics, str) else list(topics)
        self._formats: tuple[KeyFormat, ValueFormat] = key, value
        self._start: Start = start
        self._headers_field = headers_field
        self._interval = parse_duration(interval)
        self._batch = batch
        self._reader: TopicReader | None = None
        self._avro: AvroReader | None = None
        self._reads_again = False
        self._check_arguments()

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``. Positions: ``{"cluster": its id, "parts": {topic: …}}``; parts:
        ``connectors/kafka/reader.py``."""
        if position is not None and "cluster" not in position:
            raise ConfigurationError("the stored position is another source's: reset it")
        self._open()
        reader = self._reader = TopicReader(
            self._cluster, self._topics, stop, start=self._start, interval=self._interval
        )
        try:
            reader.begin(position)
            self._begin(position)
            yield from self._batches(reader, stop)
        except Stopped:
            return

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the topics."""
        return tuple(self._topics)

    def check(self) -> list[Finding]:
        """See ``Source.check``: whether the topics are there, and may be read."""
        questions = TopicQuestions(self._cluster, threading.Event())
        questions.cluster_id()
        there = questions.topics(self._topics)
        return [
            Finding(f"there is no topic {name!r} at {self._cluster.bootstrap}", warning=True)
            for name in self._topics
            if name not in there
        ]

    def close(self) -> None:
        """Closes the connections."""
        if self._reader is not None:
            self._reader.close()
        if self._avro is not None:
            self._avro.close()

    # What another form of messages replaces.

    def _begin(self, position: Position | None) -> None:
        """Take over what the position has beside offsets."""

    def _open(self) -> None:
        """Make what reads keys and values."""
        if "avro" in self._formats:
            self._avro = AvroReader(self._cluster, type(self).__name__)
        avro = None if self._avro is None else self._avro.read
        self._read_key = key_reader(self._formats[0], avro)
        self._read_value = value_reader(self._formats[1], avro)

    def _key(self, topic: str, raw: bytes | None) -> Any:
        """The key as it is written; None where there is none. Raises DataError."""
        return None if raw is None else self._read_key(raw)

    def _interpret(self, message: RawMessage, key: Any, text: str) -> Interpreted | None:
        """What a message says whose key is ``key``, as text ``text``; None for what says nothing
        of its own. Raises DataError, or one of SCHEMA_UNAVAILABLE."""
        if message.value is None:
            return Interpreted(text, dict(key) if isinstance(key, dict) else {}, "delete")
        return Interpreted(text, table_of(self._read_value(message.value)))

    def _position(self, reader: TopicReader) -> Position:
        return reader.position()

    # What is common to all.

    def _batches(self, reader: TopicReader, stop: threading.Event) -> Iterator[Batch]:
        told: bool | None = None
        due = time.monotonic()
        while not stop.is_set():
            records, error = self._records(reader)
            current = error is None and reader.current
            moved = reader.moved and (error is not None or time.monotonic() >= due)
            if records or moved or current != told:
                yield Batch(records, self._position(reader), current)
                told, due = current, time.monotonic() + _LATER
            if error is not None:
                raise error

    def _records(self, reader: TopicReader) -> tuple[list[Record], Exception | None]:
        """The records of what has arrived, and the error behind them: what was read before it is
        given out first."""
        records: list[Record] = []
        messages, error = reader.read(self._batch)
        for message in messages:
            if message.error() is None:
                try:
                    record = self._record(reader, message)
                except SCHEMA_UNAVAILABLE as unavailable:
                    return records, SourceError(self._cluster.told(unavailable))
                if record is not None:
                    records.append(record)
            reader.passed(message)
        return records, error

    def _record(self, reader: TopicReader, message: Message) -> Record | None:
        topic, partition = partition_of(message)
        raw, offset = RawMessage(topic, partition, message.key(), message.value()), message.offset()
        headers: Any = message.headers() or []
        record = Record(
            key="",
            data={},
            stream=topic,
            id=f"{reader.topic_id(topic)}/{partition}/{offset}",
            time=_time_of(message),
            traceparent=_traceparent(headers),
            place=f"{topic}/{partition}/{offset}",
        )
        try:
            if not self._read_into(record, raw):
                return None
        except SCHEMA_UNAVAILABLE:
            raise
        except DataError as error:
            record.unreadable = self._unreadable(error, raw, headers)
        except MALFORMED as error:  # else the same message would stop the source at each start
            told = DataError(f"the message has a form that nobody has foreseen: {error!r}")
            record.unreadable = self._unreadable(told, raw, headers)
        if self._headers_field and record.unreadable is None:
            record.data[self._headers_field] = {name: _header(value) for name, value in headers}
        return record

    def _read_into(self, record: Record, raw: RawMessage) -> bool:
        """Fill in what a message says; False where it says nothing of its own. Raises DataError,
        one of MALFORMED, or one of SCHEMA_UNAVAILABLE."""
        key = self._key(raw.topic, raw.key)
        record.key = key_text(key)
        found = self._interpret(raw, key, record.key)
        if found is None:
            return False
        record.key, record.data, record.change = found.key, found.data, found.change
        record.time = found.time or record.time
        return True

    def _unreadable(self, error: DataError, raw: RawMessage, headers: Any) -> Unreadable:
        """A message that cannot be read, with all that reading it again takes."""
        notes: dict[str, Any] = {"key": None if raw.key is None else b64encode(raw.key).decode()}
        if raw.value is None:
            notes["value"] = None
        if self._headers_field:
            notes["headers"] = {name: _header(value) for name, value in headers}
        return Unreadable(error, raw.value or b"", notes=notes)

    def read_again(self, record: Record) -> Record:
        """See ``Source.read_again``: the message, by today's formats. Raises one of
        SCHEMA_UNAVAILABLE while the cluster's registry does not answer."""
        assert record.unreadable is not None
        notes, raw = record.unreadable.notes, record.unreadable.raw
        if "key" not in notes:
            raise DataError("the letter is of an older version, without the message's key")
        key = None if notes["key"] is None else b64decode(notes["key"])
        topic, partition, _ = record.place.rsplit("/", 2)
        value = None if "value" in notes else raw
        if not self._reads_again:
            self._reads_again = True
            self._open()
            self._begin(None)
        made = replace(record, unreadable=None)
        try:
            if not self._read_into(made, RawMessage(topic, int(partition), key, value)):
                raise DataError("the message says nothing of its own: discard its letter")
        except MALFORMED as error:
            raise DataError(f"the message has an unforeseen form: {error!r}") from error
        if self._headers_field:
            made.data[self._headers_field] = dict(notes.get("headers", {}))
        return made

    def _check_arguments(self) -> None:
        who = type(self).__name__
        if not self._topics or not all(self._topics):
            raise ConfigurationError(f"{who}: topics= is empty: name at least one topic")
        if len(set(self._topics)) < len(self._topics):
            raise ConfigurationError(f"{who}: topics= names a topic twice")
        if illegal := [name for name in self._topics if not _LEGAL.fullmatch(name)]:
            raise ConfigurationError(
                f"{who}: topics= names {illegal[0]!r}, which is no topic's name: patterns are not "
                "taken, name each topic"
            )
        if not 1 <= self._batch <= _MOST:
            raise ConfigurationError(f"{who}: batch={self._batch}: must be from 1 to {_MOST:,}")
        if self._start not in ("earliest", "latest"):
            raise ConfigurationError(f"{who}: start={self._start!r} is neither earliest nor latest")
        self._open()
        self.close()
        self._avro = None


def _time_of(message: Message) -> datetime:
    """When a message was written; now where its producer said nothing that can be."""
    kind, millis = message.timestamp()
    try:
        return datetime.fromtimestamp(millis / 1000, UTC) if kind else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)


def _traceparent(headers: Sequence[tuple[str, Any]]) -> str:
    for name, value in headers:
        if name == "traceparent" and value and _TRACEPARENT.fullmatch(value):
            return str(value.decode())
    return ""


def _header(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
