"""The publishing step of a source that calls us: every worker runs one, and there is no position.

The caller gets its answer after Kafka has acknowledged all of its records (acks=all), so that what
was accepted outlives this worker. A caller that gets no answer sends again, with the same ids.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, Message, Producer

from trunkline.connectors.base import PushSource
from trunkline.errors import SourceError
from trunkline.event import Record
from trunkline.kafka import ProducerRecord, produce, unavailable
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.metrics import StepMetrics
from trunkline.streams.publish.letter_limit import LetterLimit
from trunkline.streams.publish.publisher import Publisher
from trunkline.streams.publish.source_lag import SourceStatus
from trunkline.tasks import inheriting

log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 8.0
"""Seconds until a caller hears that Kafka did not take its records. Many callers wait for 10 s, and
one that has gone by then does not know whether to send again."""


class PushStep:
    """Runs a push source: its server in the event loop, Kafka's delivery reports in a thread."""

    def __init__(
        self,
        name: str,
        publisher: Publisher,
        *,
        source: PushSource,
        make_producer: Callable[[], Producer],
        metrics: StepMetrics,
        outcome_listener: OutcomeListener,
        limit: LetterLimit | None = None,
    ) -> None:
        self.name = name
        self._limit = limit or LetterLimit(None)
        self._publisher = publisher
        self._source = source
        self._make_producer = make_producer
        self._metrics = metrics
        self._outcome_listener = outcome_listener
        self._stopping = threading.Event()
        self._reports = threading.Thread(
            target=inheriting(self._serve_reports), name=f"push-{name}", daemon=True
        )
        self._paused_until = 0.0
        self.read_records = 0
        """Records that callers were told are taken, since this worker began."""
        self.failure: BaseException | None = None

    def pause(self, until: float) -> None:
        """Take nothing before the epoch second ``until``; one that is over ends a pause. Callers
        are told to send again, so whoever does not loses what he sends meanwhile."""
        self._paused_until = until

    def allow(self) -> None:
        """Take again what comes, if the dead-letter limit has stopped it: a person has looked."""
        self._limit.reset()

    @property
    def status(self) -> SourceStatus:
        """How it is in this worker."""
        if self._limit.reason and not self._paused:
            return SourceStatus("dead-letter-limit", self._limit.reason)
        return SourceStatus("paused" if self._paused else "listening")

    @property
    def _paused(self) -> bool:
        return time.time() < self._paused_until

    async def start(self) -> None:
        """Begin to accept."""
        self._producer = self._make_producer()
        self._reports.start()
        await self._source.start(self.publish)

    async def stop(self) -> None:
        """Finish what was accepted, then accept nothing more."""
        await self._source.stop()
        self._stopping.set()
        if self._reports.ident is not None:  # it may be stopped before it was started
            await asyncio.to_thread(self._reports.join)

    async def publish(self, records: Sequence[Record]) -> None:
        """Publish all records; returns when Kafka has them. Raises KafkaUnavailable; SourceError
        while it is paused, or its dead-letter limit has tripped: then nothing is published; and
        DataError for what the flow cannot read if the source refuses it."""
        if self._paused:
            raise SourceError(f"source {self.name} is paused: nothing is taken")
        if self._limit.reason:
            raise SourceError(f"source {self.name}: {self._limit.reason}")
        result = self._publisher.publish(records, refuse=self._source.refuses)
        if why := self._limit.trips(result):
            failure = SourceError(f"source {self.name}: {why}")
            self._outcome_listener.on_held(failure)
            raise failure
        await self._acknowledged(result.records)
        self.read_records += len(records)
        self._metrics.events_in.inc(len(records))
        result.tell(self._outcome_listener)

    async def _acknowledged(self, records: list[ProducerRecord]) -> None:
        if not records:
            return
        waiting = _DeliveryReports(len(records))
        # In a thread, since it waits while the producer's queue is full.
        await asyncio.to_thread(produce, self._producer, records, waiting.report)
        error = await waiting.all
        if error is not None:
            failure = unavailable("Kafka did not take the records", error)
            self._outcome_listener.on_held(failure)
            raise failure

    def _serve_reports(self) -> None:
        # librdkafka calls ``report`` only from within a poll.
        while not self._stopping.is_set():
            self._producer.poll(0.2)


class _DeliveryReports:
    """Counts the delivery reports of ``count`` records, in the thread in which they come. ``all``
    has the first error, or None, once there is one for each record; it is for the event loop."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = count
        self._error: KafkaError | None = None
        self.all: asyncio.Future[KafkaError | None] = self._loop.create_future()

    def report(self, error: KafkaError | None, message: Message) -> None:
        del message
        self._error = self._error or error
        self._left -= 1
        if not self._left:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.all.done():  # the caller may have gone away
            self.all.set_result(self._error)
