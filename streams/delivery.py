"""The delivery step: from a destination's inbox to its sink, at least once, in order per key.

A fixed number of workers deliver batches side by side; lanes keep the order of each key. An
event ends delivered or dead-lettered, and only then does its offset count as completed. Dead
letters and offsets are committed in one transaction, so a dead letter is written exactly once.
What fails otherwise stays at the front of its lane and is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from trunkline.connectors.base import Sink
from trunkline.errors import (
    DataError,
    PartialFailure,
    Rejected,
    Retryable,
    Unavailable,
)
from trunkline.event import Event
from trunkline.logs import about
from trunkline.streams.seam_breaker import Breaker
from trunkline.streams.commits import Commits
from trunkline.streams.flow import Destination
from trunkline.streams.intake import Intake, MicroBatch
from trunkline.streams.lanes import Lanes
from trunkline.streams.metrics import StepMetrics
from trunkline.streams.progress import Progress
from trunkline.streams.routing import HOLDS, Learn, nothing_to_learn
from trunkline.streams.tasks import watched

log = logging.getLogger(__name__)

DRAIN = 30.0
"""Seconds that a revocation waits for deliveries under way; after that they are cancelled."""

Events = list[Event[Any]]


class DeliveryStep:
    """Delivers what an intake reads from one inbox to one sink."""

    hand_over: Callable[[MicroBatch], None]
    """Brings a batch from the intake's thread to ``accept`` in the event loop, in order."""

    def __init__(
        self,
        sink: Sink[Any],
        destination: Destination[Any, Any],
        *,
        decode: Callable[[bytes], Any],
        make_consumer: Callable[[], Consumer],
        make_producer: Callable[[], Producer],
        metrics: StepMetrics,
        learn: Learn = nothing_to_learn,
    ) -> None:
        self.name = destination.name
        self._sink = sink
        self._decode = decode
        self._learn = learn
        self._retry = destination.policy.retry
        self._metrics = metrics
        self._lanes = Lanes(ordered=destination.policy.order == "key")
        self._breaker = Breaker(destination.policy.retry)
        self._failures: dict[Hashable, int] = {}
        self._idle: deque[asyncio.Future[Events]] = deque()
        self._busy = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._workers: list[asyncio.Task[None]] = []
        self._leaving = False
        self.failure: BaseException | None = None
        self.intake = Intake(make_consumer, [destination.inbox], self, room=10_000)
        self._commits = Commits(
            destination.inbox,
            destination.dlq,
            make_producer=make_producer,
            metrics=metrics,
            released=lambda count: self.intake.finished(count, self.intake.epoch),
            group=lambda: self.intake.group,
            failed=self._failed,
        )

    # The intake's side, in its thread.

    def assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Go on from the last cut: its prefix, and what is completed beyond it."""
        progress = {}
        for at in consumer.committed(partitions, timeout=60):
            if at.error is not None:
                raise KafkaException(at.error)
            partition = next(p for p in partitions if p.partition == at.partition)
            if at.offset >= 0:
                partition.offset = at.offset
            progress[at.partition] = Progress(max(at.offset, 0), at.metadata or "")
        self._commits.assigned(progress)
        self._leaving = False

    def revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Finish and commit what is under way; what only waits is forgotten."""
        asyncio.run_coroutine_threadsafe(self._leave(lost), self._loop).result()

    def received(self, batch: MicroBatch) -> None:
        """A micro-batch for ``accept``."""
        self.hand_over(batch)

    # The event loop's side.

    async def start(self) -> None:
        """Open the sink and begin. A system that is down holds the start, and nothing else."""
        self._loop = asyncio.get_running_loop()
        await self._open_sink()
        self._start_workers()
        self._commits.start()
        self.intake.start()

    async def stop(self) -> None:
        """Deliver what is under way, commit, leave the group, close the sink."""
        await asyncio.to_thread(self.intake.stop)
        await self._commits.stop()
        await self._end_workers()
        await self._sink.close()

    async def accept(self, batch: MicroBatch) -> None:
        """Put a micro-batch into the lanes."""
        if batch.epoch != self.intake.epoch or self._leaving:
            return
        self._metrics.events_in.inc(len(batch.messages))
        for message in self._commits.receive(batch.messages):
            self._enter(message)
        self._pump()

    def _enter(self, message: Message) -> None:
        try:
            event = _event(message, self._decode)
        except DataError as error:
            self._bury(_raw_event(message, self._decode), error, message.key())
        else:
            self._lanes.add(event)

    def _pump(self) -> None:
        """Give ready batches to idle workers."""
        while self._idle and self._lanes.ready:
            if not self._breaker.admits(self._loop.time()):
                return
            self._idle.popleft().set_result(self._lanes.take(self._sink.max_batch))
            self._busy += 1
            self._quiet.clear()

    async def _work(self) -> None:
        while True:
            turn: asyncio.Future[Events] = self._loop.create_future()
            self._idle.append(turn)
            self._pump()
            batch = await turn
            try:
                await self._attempt(batch)
            finally:
                self._busy -= 1
                if not self._busy:
                    self._quiet.set()

    async def _attempt(self, batch: Events) -> None:
        started = time.monotonic()
        failure: Exception | None = None
        events: Events = []
        try:
            await self._learn(event.value for event in batch)
            events = self._readable(batch)
            if events:
                await self._sink.deliver(events)
        except Exception as error:  # noqa: BLE001 - whatever a sink raises must lose nothing
            failure = error
        self._conclude(batch, events, failure)
        self._metrics.batch_seconds.observe(time.monotonic() - started)

    def _conclude(self, batch: Events, events: Events, failure: Exception | None) -> None:
        """What an attempt's end means for its events, which were ``events`` of ``batch``."""
        if isinstance(failure, (Unavailable, *HOLDS)):
            self._metrics.error(failure)
            self._hold_all(events or batch, failure)
            self._free_rest(batch, events)
            return
        if events:
            self._breaker.succeeded()
        else:  # all of it was dead-lettered: the destination was not asked
            self._breaker.cancelled()
        if failure is None:
            self._delivered(events)
            self._free(batch)
        elif isinstance(failure, PartialFailure) and _names_only(failure, events):
            self._sort_out(batch, events, failure.failures)
        else:
            tried = events or batch
            self._sort_out(batch, tried, dict.fromkeys(range(len(tried)), failure))

    def _free_rest(self, batch: Events, held: Events) -> None:
        """The lanes of a batch that hold nothing back, since theirs was dead-lettered."""
        if held:
            keys = {self._lanes.key(event) for event in held}
            self._free([event for event in batch if self._lanes.key(event) not in keys])

    def _readable(self, batch: Events) -> Events:
        """The batch without what cannot be read, which is dead-lettered. Raises one of HOLDS:
        then all of it must wait."""
        events, unreadable = [], []
        for event in batch:
            try:
                if event.value is not None:
                    event.data  # noqa: B018 - decodes
                elif not self._sink.accepts_deletes:
                    raise Rejected("the destination accepts no deletes")
                events.append(event)
            except (DataError, Rejected) as error:
                unreadable.append((event, error))
        for event, reason in unreadable:
            self._bury(event, reason)
        return events

    def _sort_out(self, batch: Events, events: Events, failures: Mapping[int, Exception]) -> None:
        """Each failed event by its own error; the others are delivered.

        Once an event of a key must wait, the later ones of its key in this batch wait too and are
        sent again behind it: the newest state comes last.
        """
        delivered: Events = []
        held: dict[Hashable, Events] = {}
        longest = 0.0
        for index, event in enumerate(events):
            error, key = failures.get(index), self._lanes.key(event)
            if key in held:
                held[key].append(event)
            elif error is None:
                delivered.append(event)
            elif isinstance(error, Rejected):
                self._bury(event, error)
            else:
                held[key] = [event]
                longest = max(longest, self._wait_of(event, error))
        self._delivered(delivered)
        self._free([event for event in batch if self._lanes.key(event) not in held])
        for lane in held.values():
            self._hold(lane, longest)

    def _wait_of(self, event: Event[Any], error: Exception) -> float:
        self._metrics.error(error)
        key = self._lanes.key(event)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        if not isinstance(error, Retryable | Unavailable):
            log.error("%r failed in an unforeseen way", event, exc_info=error, extra=about(event))
        elif failures == 1:
            log.warning("%r is retried: %s", event, error, extra=about(event))
        after = error.after if isinstance(error, Retryable | Unavailable) else None
        return self._retry.wait(failures, after=after)

    def _hold_all(self, batch: Events, error: Exception) -> None:
        """The destination is down: the batch waits at the front, and nothing else is sent."""
        if not self._breaker.open:
            log.warning("deliveries are held: %s", error)
        after = error.after if isinstance(error, Unavailable) else None
        self._hold(batch, self._breaker.failed(self._loop.time(), after=after))

    def _hold(self, events: Events, delay: float) -> None:
        self._lanes.put_back(events)
        epoch = self.intake.epoch
        self._loop.call_later(delay + 0.001, self._retry_lanes, events, epoch)

    def _retry_lanes(self, events: Events, epoch: int) -> None:
        if epoch == self.intake.epoch:
            self._lanes.release(events)
        # Even if they are someone else's now: nobody else asks the breaker when it may close, and
        # what came in an epoch after theirs waits for it.
        self._pump()

    def _free(self, events: Events) -> None:
        self._lanes.release(events)
        self._pump()

    def _delivered(self, events: Sequence[Event[Any]]) -> None:
        for event in events:
            self._failures.pop(self._lanes.key(event), None)
            self._commits.completed(event)
        self._metrics.events_out.inc(len(events))

    def _bury(
        self, event: Event[Any], error: DataError | Rejected, raw_key: bytes | None = None
    ) -> None:
        self._metrics.error(error)
        self._metrics.dead_letters.inc()
        self._failures.pop(self._lanes.key(event), None)
        log.error("%r is dead-lettered: %s", event, error, extra=about(event))
        self._commits.dead(event, error, raw_key)

    async def _leave(self, lost: bool) -> None:
        """Partitions go: nothing new is sent, what is under way ends, and the cut is committed."""
        self._leaving = True
        self._lanes.clear()
        try:
            await asyncio.wait_for(self._quiet.wait(), 0 if lost else DRAIN)
        except TimeoutError:
            log.warning("deliveries under way are cancelled and will be repeated")
            await self._restart_workers()
        self._lanes.clear()
        self._failures.clear()
        await self._commits.leave(lost)

    async def _restart_workers(self) -> None:
        await self._end_workers()
        self._breaker.cancelled()
        self._start_workers()

    def _failed(self, failure: BaseException) -> None:
        """A defect of ours ended a task: the worker must end too, and not stand still."""
        self.failure = failure

    def _start_workers(self) -> None:
        self._workers = [
            watched(self._work(), f"deliver-{self.name}-{number}", self._failed)
            for number in range(self._sink.concurrency)
        ]

    async def _end_workers(self) -> None:
        self._idle.clear()  # first, so that nothing is given to a worker that ends
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._busy = 0  # one that was cancelled before it began has not counted itself out
        self._quiet.set()

    async def _open_sink(self) -> None:
        failures = 0
        while True:
            try:
                await self._sink.open()
                return
            except (Unavailable, Retryable) as error:
                failures += 1
                log.warning("the sink cannot be opened yet: %s", error)
                await asyncio.sleep(self._retry.wait(failures))

    @property
    def held(self) -> bool:
        """Whether the destination is unavailable just now."""
        return self._breaker.open

    def refresh(self) -> None:
        """Bring the gauges up to date; called when the metrics are read."""
        self._metrics.lag.set(self.intake.lag + self._commits.open)
        self._metrics.lag_seconds.set(self._commits.oldest_age())


def _names_only(failure: PartialFailure, events: Events) -> bool:
    """Whether the failure names events of this batch: else nobody knows what is delivered."""
    return failure.failures.keys() <= {*range(len(events))}


def _event(message: Message, decode: Callable[[bytes], Any]) -> Event[Any]:
    try:
        return _raw_event(message, decode, errors="strict")
    except UnicodeDecodeError as error:
        raise DataError(f"the key is not UTF-8: {error}") from error


def _raw_event(
    message: Message, decode: Callable[[bytes], Any], errors: str = "replace"
) -> Event[Any]:
    return Event(
        key=(message.key() or b"").decode(errors=errors),
        value=message.value(),
        headers=message.headers() or [],  # type: ignore[arg-type]
        decode=decode,
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
    )
