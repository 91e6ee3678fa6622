"""A source's records become canonical events: Avro values with CloudEvents headers.

No connection here: the steps produce what this module makes.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from trunkline.errors import DataError
from trunkline.event import Record, event_headers, replaced, trace_id
from trunkline.headers import TL_ORDER, TL_PERSONAL
from trunkline.kafka import MAX_VALUE, ProducerRecord
from trunkline.schemas.personal import hide_in, texts_of_names
from trunkline.streams.dlq.envelope import dead_letter
from trunkline.streams.listener import BrokenRule, OutcomeListener, broken_by
from trunkline.streams.publish.kept_records import kept

log = logging.getLogger(__name__)


@dataclass(slots=True)
class TopicMapping:
    """How records of a source become events of one canonical topic.

    ``function``: the flow's own; None leaves a record out. ``key``: the record's own by default.
    ``event_type``: a text, or a function of the value; the topic and the change by default.
    ``streams``: the tables whose records it takes; () for all. ``personal``: the names of the
    fields of its type that are tagged so.
    """

    topic: str
    function: Callable[[Record], Any]
    encode: Callable[[Any], bytes]
    key: Callable[[Record], str] | None = None
    event_type: str | Callable[[Any], str] | None = None
    streams: tuple[str, ...] = ()
    personal: frozenset[str] = frozenset()


@dataclass(slots=True)
class PublishingResult:
    """What became of a batch of records: ``records`` to produce, in order, of which some are dead
    letters for ``dlq``. ``refused``: how many, and the newest error, by class of error.
    ``left_out``: how many by the canonical topic whose function made None of them; by "" those of
    streams that the flow ignores. ``broken``: how many break a rule of their type's schema."""

    dlq: str
    records: list[ProducerRecord] = field(default_factory=list)
    refused: dict[type[Exception], tuple[int, Exception]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    broken: Counter[BrokenRule] = field(default_factory=Counter)

    def refuse(self, error: Exception) -> None:
        """Count a dead letter."""
        count, _ = self.refused.get(type(error), (0, error))
        self.refused[type(error)] = count + 1, error
        self.broken.update(broken_by(error))

    def tell(self, listener: OutcomeListener) -> None:
        """The records are in Kafka: tell the listener what became of them."""
        listener.on_delivered(self.published)
        for count, error in self.refused.values():
            listener.on_dead_lettered(self.dlq, count, error)
        if self.broken:
            listener.on_rules_broken(self.broken)
        for topic, count in self.left_out.items():
            listener.on_left_out(topic, count)

    def leave_out(self, topic: str = "") -> None:
        """Count a record that the topic's function, or the flow, leaves out on purpose."""
        self.left_out[topic] = self.left_out.get(topic, 0) + 1

    @property
    def dead(self) -> int:
        """How many of the records are dead letters."""
        return sum(count for count, _ in self.refused.values())

    @property
    def published(self) -> int:
        """How many of the records are canonical events."""
        return len(self.records) - self.dead


class Publisher:
    """Turns one source's records into records of its canonical topics.

    What a topic's function or its schema refuses, and what no topic takes, becomes a dead letter of
    the source: the record as JSON, with the reason. So does what the source itself could not read:
    its raw bytes. ``ignored``: streams that no topic is to take, whose records are left out.
    """

    def __init__(
        self,
        source: str,
        dlq: str,
        outputs: Sequence[TopicMapping],
        flow_version: str = "",
        ignored: Collection[str] = (),
    ) -> None:
        self._source = source
        self._version = flow_version
        self._dlq = dlq
        self._outputs = outputs
        self._ignored = frozenset(ignored)
        self._personal = frozenset[str]().union(*(output.personal for output in outputs))
        self._order = 0
        self._died = False
        """Whether the batch before had a dead letter."""

    def publish(self, records: Sequence[Record], *, refuse: bool = False) -> PublishingResult:
        """Each record as an event of each topic that takes its stream, or as a dead letter.

        ``refuse``: raise DataError with the reason instead, if there would be a dead letter.
        """
        done = PublishingResult(self._dlq)
        example: tuple[Record, Exception] | None = None
        follows = self._died
        for record in records:
            if record.stream in self._ignored:  # first: nobody wants to hear what is wrong in it
                done.leave_out()
                continue
            if record.unreadable is not None:  # once, however many topics the source has
                done.records.append(self._dead_letter(record, record.unreadable.error))
                done.refuse(record.unreadable.error)
                example = record, record.unreadable.error
                continue
            taken = False
            for output in self._outputs:
                if output.streams and record.stream not in output.streams:
                    continue
                taken = True
                try:
                    made = self._canonical(record, output)
                except Exception as failure:  # noqa: BLE001 - a flow's own mistake, of any kind
                    error = self._hidden(record, failure)
                    made = self._dead_letter(record, error)
                    done.refuse(error)
                    example = record, error
                if made is not None:
                    if follows or example is not None:
                        made = self._behind_letters(made)
                    done.records.append(made)
                else:  # the topic's function may leave a record out
                    done.leave_out(output.topic)
            if not taken:
                # Not passed over: ``stream="public.custmers"`` would lose every customer, and the
                # position says behind each of them that it is published.
                nobodys = _nobodys(record)
                done.records.append(self._dead_letter(record, nobodys))
                done.refuse(nobodys)
                example = record, nobodys
        self._died = example is not None
        if example is not None and refuse:
            raise _refusal(*example)
        if example is not None:
            self._log_dead_letters(done.dead, *example)
        return done

    def _behind_letters(self, made: ProducerRecord) -> ProducerRecord:
        """An event, or letter, that follows a dead letter in its batch, or in the next one. Within
        a millisecond, Kafka's times would not tell a re-drive that the event is the newer one, and
        it would put the entity back. Later ones are told by their times."""
        if made.topic == self._dlq:  # it has its number
            return made
        return made._replace(headers=replaced(made.headers, {TL_ORDER: self._number()}))

    def _number(self) -> bytes:
        self._order = max(self._order + 1, time.time_ns() // 1000)
        return str(self._order).encode()

    def _canonical(self, record: Record, output: TopicMapping) -> ProducerRecord | None:
        if record.change in ("delete", "truncate"):
            data, value = None, None
        else:
            data = output.function(record)
            if data is None:
                return None
            value = output.encode(data)
            if len(value) > MAX_VALUE:
                raise DataError(f"the event has {len(value)} bytes; the limit is {MAX_VALUE}")
        headers = event_headers(record, source=self._source, type=_type(record, output, data))
        return ProducerRecord(output.topic, _key(record, output), value, headers)

    def _hidden(self, record: Record, error: Exception) -> Exception:
        """The error without what the record has under the name of a personal field."""
        if not self._personal:
            return error
        return hide_in(error, texts_of_names(record.data, self._personal))

    def _log_dead_letters(self, count: int, record: Record, error: Exception) -> None:
        """One line a batch: a table full of what is refused floods no log."""
        log.warning(
            "%d records cannot be mapped, for the dead letters of %s, as %r: %s: %s",
            count,
            self._dlq,
            record.place or record.key,
            type(error).__name__,
            error,
            extra={"event_id": record.id, "trace_id": trace_id(record.traceparent)},
        )

    def _dead_letter(self, record: Record, error: Exception) -> ProducerRecord:
        value, about = kept(record)
        about[TL_ORDER] = self._number()
        if self._personal:
            about[TL_PERSONAL] = ",".join(sorted(self._personal)).encode()
        headers = event_headers(record, source=self._source, type=f"record.{record.change}")
        return dead_letter(
            self._dlq,
            key=record.key.encode(errors="replace"),
            value=value,
            headers=replaced(headers, about),
            came_from=record.place or record.stream or self._source,
            stage="publish",
            error=error,
            flow_version=self._version,
        )


def _refusal(record: Record, error: Exception) -> DataError:
    """For the caller: what is wrong with its data, and of a defect of the flow's only the kind."""
    why = str(error) if isinstance(error, DataError) else type(error).__name__
    return DataError(f"{record.key!r} cannot be taken: {why}")


def _nobodys(record: Record) -> DataError:
    return DataError(
        f"no topic takes the records of {record.stream!r}: name it in stream= of one, or take it "
        "out of the source, or name it in the source's ignore="
    )


def _key(record: Record, output: TopicMapping) -> bytes:
    if record.change == "truncate":  # a whole table, which has no entity's key: the table's name
        return (record.key or record.stream).encode()
    key = output.key(record) if output.key is not None else record.key
    if not key:
        raise DataError("the record has no key: give the topic a key= function")
    return key.encode()


def _type(record: Record, output: TopicMapping, data: Any) -> str:
    named = output.event_type
    if isinstance(named, str):
        return named
    if named is None or data is None:
        return record.type or f"{output.topic}.{record.change}"
    return named(data)
