"""The thread that polls one consumer group and hands micro-batches to the event loop.

Stock Faust acknowledges, commits and rebalances by itself, with gaps; here that is ours, on
confluent-kafka, and Faust's agents receive whole micro-batches over a channel. A batch is what
has arrived, never a timer's worth.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from trunkline.kafka.backpressure import InFlight, PausedPartitions
from trunkline.kafka.lag import LagMeter
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.kafka.reasons import KafkaFatal, KafkaUnavailable, is_fatal
from trunkline.tasks import inheriting

log = logging.getLogger(__name__)

NOT_KNOWN = (
    "where to go on in %s is not known yet: %s; if this stays so for minutes and Kafka is well, a "
    "transaction hangs there: see docs/operations.md, Kafka"
)

FATAL = (
    "Kafka reads {topic} no more for this consumer: {why}. If another process has its "
    "group.instance.id, give each one of its own"
)

POLL = 0.2
"""Seconds that one poll waits: how late a stop or a rewind can be noticed."""
IDLE_POLL = 1.0
"""As ``POLL``, of a loop that has nothing to do, where many loops share a process: a hundred that
turn five times a second take 5 % of a core."""
STUCK = 30.0
"""Seconds without a turn of the loop after which it counts as stuck."""
WAIT_FOR_ROOM = 1.0
"""Seconds without room after which partitions are paused. Not at once: a pause throws away what was
fetched ahead, and room comes back within milliseconds where events flow."""


@dataclass(slots=True)
class MicroBatch:
    """Messages as they came, in order per partition.

    ``epoch`` and ``group``: the assignment under which they were read. A batch of an older epoch
    must be dropped: its partitions are read again, here or elsewhere.
    """

    messages: list[Message]
    epoch: int
    group: Any


class PollListener(Protocol):
    """Whom a poll loop tells what happens. Every method is called from the loop's thread."""

    def on_assigned(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Partitions are ours now; returns those that are to be read, and from where. Called
        again if it raises KafkaUnavailable, or a KafkaException that is not fatal."""
        ...

    def on_revoked(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        """Partitions go away when this returns: finish and commit, or if lost, forget."""
        ...

    def on_batch(self, batch: MicroBatch) -> None:
        """A micro-batch; ``finished`` must be called once it is done with."""
        ...


class PollLoop:
    """A consumer in a thread of its own, which alone may call it: confluent-kafka lets one thread
    at a time into a consumer, and a second one waits without giving up the GIL.

    It is made before its listener, who is named at ``start``: so whoever needs to know the
    assignment (``epoch``, ``group``, ``lag``) can be made between the two.

    ``batch``: most messages of a batch. ``max_in_flight``, ``max_batches``: how many messages, and
    batches, may be under way. Where each batch is a transaction, few batches let the next one grow
    while the ones before are committed. ``resume_at``: until when (epoch seconds) reading on behind
    a message can wait; its partition is paused until then. ``idle``: seconds that one poll waits
    while nothing is under way, or paused. ``group``: the group's metadata, as of
    the newest batch. ``failure``: what ended the thread, or None.
    """

    def __init__(
        self,
        make_consumer: Callable[[], Consumer],
        topics: list[str],
        *,
        batch: int = 2000,
        max_in_flight: int = 20_000,
        max_batches: int | None = None,
        resume_at: Callable[[Message], float] | None = None,
        idle: float = POLL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = topics[0]
        self._clock = clock
        self._turned = 0.0
        self._make_consumer = make_consumer
        self._topics = topics
        self._batch = batch
        self._idle = idle
        self._listener: PollListener
        self._in_flight = InFlight(max_in_flight, max_batches)
        self._paused = PausedPartitions(resume_at)
        self._meter = LagMeter()
        self._thread = threading.Thread(
            target=inheriting(self._run), name=f"poll-{topics[0]}", daemon=True
        )
        self.ready = False
        self.failure: BaseException | None = None
        self.group: Any = None

    # From any thread.

    def start(self, listener: PollListener) -> None:
        """Begin to poll, and tell the listener of partitions and batches."""
        self._listener = listener
        self._context = copy_context()
        self._turned = self._clock()
        self._thread.start()

    async def stop(self) -> None:
        """Leave the group, which revokes and so finishes everything, and wait for the thread."""
        self._in_flight.close()
        if self._thread.ident is not None:  # it may be stopped before it was started
            await asyncio.to_thread(self._thread.join)

    @property
    def epoch(self) -> int:
        """The number of the assignment, or of the rewind that came after it."""
        return self._in_flight.epoch

    @property
    def stuck(self) -> bool:
        """Whether the loop runs and has not polled for so long that nothing comes of it, as where
        Kafka does not tell where to go on."""
        return self._thread.is_alive() and self._clock() - self._turned > STUCK

    @property
    def lag(self) -> int:
        """Messages of our partitions that are due and that nobody has read."""
        return self._meter.lag

    @property
    def in_flight(self) -> int:
        """Messages that were handed over and are not done with."""
        return self._in_flight.messages

    def done(self, batch: MicroBatch) -> None:
        """A whole batch is done with."""
        self._in_flight.finished(len(batch.messages), batch.epoch, batches=1)

    def finished(self, count: int, epoch: int) -> None:
        """So many messages that were received in that epoch are done with."""
        self._in_flight.finished(count, epoch)

    def hold(self, partitions: frozenset[Partition], epoch: int | None = None) -> None:
        """Read nothing more of these partitions, and go on with all others, until the next call;
        an assignment forgets it. ``epoch``: nothing is done in any other, if it is given."""
        self._in_flight.hold(partitions, self.epoch if epoch is None else epoch)

    def read_through(self, ends: Mapping[Partition, int]) -> None:
        """Read these partitions up to these offsets at once, whatever ``resume_at`` says; all
        others as ever."""
        self._paused.through = dict(ends)

    def rewind(self) -> None:
        """Read again from the committed offsets; batches under way are of an old epoch now."""
        self._in_flight.begin_epoch(rewinding=True)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is under way; False if that took longer."""
        return self._in_flight.wait_idle(timeout)

    def oldest_age(self) -> float:
        """Seconds since the oldest batch that is under way was written; 0 when none is."""
        return self._in_flight.oldest_age()

    # The loop's thread.

    def _run(self) -> None:
        # What this thread logs is about the part whose loop it is.
        self._context.run(self._loop)

    def _loop(self) -> None:
        try:
            consumer = self._make_consumer()
            consumer.subscribe(
                self._topics,
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
            while not self._in_flight.closed:
                self._step(consumer)
            consumer.close()
        except Exception as failure:  # noqa: BLE001 - it ends the worker, which raises it
            self.failure = self._told(failure)
        finally:
            self.ready = False

    def _told(self, failure: Exception) -> Exception:
        """Log what ended the loop; what Kafka has decided is known, and needs no traceback."""
        if isinstance(failure, KafkaException) and is_fatal(failure.args[0]):
            fatal = KafkaFatal(FATAL.format(topic=self.name, why=failure.args[0].str()))
            fatal.__cause__ = failure
            log.error("%s", fatal)
            return fatal
        log.exception("a poll loop failed", extra={"topics": self._topics})
        return failure

    def _step(self, consumer: Consumer) -> None:
        """1. Go back, if that was asked for. 2. Resume what is due. 3. Wait for room. 4. Poll."""
        self._turned = self._clock()
        if self._in_flight.rewinding:
            self._seek_committed(consumer)
        self._paused.hold(consumer, self._in_flight.held)
        self._meter.measure(consumer, self._paused.until, self._paused.held)
        self._paused.resume(consumer)
        if not self._in_flight.wait_for_room(WAIT_FOR_ROOM):
            self._hold(consumer)
            return
        # What is asked of a loop from outside concerns what is under way, but for its stop.
        busy = self._in_flight.messages or self._paused.until or self._in_flight.held
        first, epoch = consumer.consume(1, timeout=POLL if busy else self._idle), self.epoch
        if first:
            more = consumer.consume(self._batch - 1, timeout=0)
            # If a rebalance came in between, the first may be of a partition that is not ours now.
            self._receive(consumer, first + more if epoch == self.epoch else more)

    def _receive(self, consumer: Consumer, polled: list[Message]) -> None:
        messages = [message for message in polled if message.error() is None]
        if len(messages) < len(polled):
            self._log_errors([error for m in polled if (error := m.error()) is not None])
        if not messages or (epoch := self._in_flight.received(messages)) is None:
            return
        self.group = consumer.consumer_group_metadata()
        self._listener.on_batch(MicroBatch(messages, epoch, self.group))
        self._paused.pause(consumer, messages)

    def _log_errors(self, errors: list[KafkaError]) -> None:
        for error in errors:
            if is_fatal(error):
                raise KafkaException(error)
            log.warning("Kafka: %s", error.str(), extra={"topics": self._topics})

    def _hold(self, consumer: Consumer) -> None:
        """Pause all partitions until there is room. Polling goes on: a consumer that does not poll
        for five minutes is taken for dead, and its partitions are given to another worker."""
        epoch = self.epoch
        held = consumer.assignment()
        consumer.pause(held)
        every = {(at.topic, at.partition) for at in held}
        while epoch == self.epoch and not self._in_flight.closed:
            self._turned = self._clock()
            self._receive(consumer, consumer.consume(1, timeout=POLL))
            self._meter.measure(consumer, self._paused.until, every)
            if self._in_flight.wait_for_room(0):
                break
        # A rebalance may have taken some; and what is not due yet stays paused.
        names = every - self._paused.until.keys() - self._paused.held
        consumer.resume([at for at in consumer.assignment() if (at.topic, at.partition) in names])

    def _seek_committed(self, consumer: Consumer) -> None:
        self._in_flight.rewinding = False
        try:
            for at in committed_offsets(consumer, consumer.assignment(), timeout=10):
                consumer.seek(at)
        except KafkaException as failure:
            if is_fatal(failure.args[0]):
                raise
            log.warning("the committed offsets cannot be read yet: %s", failure)
            self._in_flight.rewinding = True  # again, after a poll

    # What librdkafka calls while the loop polls.

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._in_flight.begin_epoch()
        self._paused.forget()
        starts = self._starts(consumer, partitions)
        consumer.assign(starts)
        consumer.resume(starts)  # librdkafka remembers a pause from an earlier assignment
        self.ready = True
        log.info("assigned %s", _named(partitions))

    def _starts(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Where the listener wants to begin. It must ask Kafka, and is called until Kafka answers.

        A KafkaException that is raised from here would end this thread: librdkafka's callback turns
        it into a KafkaError and raises that, which is no exception and cannot be caught.
        """
        while not self._in_flight.closed:
            try:
                return self._listener.on_assigned(consumer, partitions)
            except (KafkaException, KafkaUnavailable) as failure:
                if isinstance(failure, KafkaException) and is_fatal(failure.args[0]):
                    raise
                log.warning(NOT_KNOWN, _named(partitions), failure)
                self._in_flight.wait_closed(1.0)
        return []

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._listener.on_revoked(partitions, lost=False)
        self._forget(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("lost %s: another worker has them", _named(partitions))
        self._listener.on_revoked(partitions, lost=True)
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self._in_flight.begin_epoch()
        if partitions:
            log.info("released %s", _named(partitions))


def _named(partitions: list[TopicPartition]) -> str:
    """Partitions in a few words: those of a destination's inbox and of all its retry topics, which
    are assigned together, would be 500 characters each time that a worker comes or goes."""
    topics: dict[str, list[int]] = {}
    for partition in partitions:
        topics.setdefault(partition.topic, []).append(partition.partition)
    alike: dict[tuple[int, ...], list[str]] = {}
    for topic in sorted(topics):
        alike.setdefault(tuple(sorted(topics[topic])), []).append(topic)
    parts = [f"{_ranges(numbers)} of {_first(names)}" for numbers, names in alike.items()]
    return f"{len(partitions)} partitions: {'; '.join(parts)}" if parts else "nothing"


def _first(names: list[str]) -> str:
    more = len(names) - 1
    return f"{names[0]} and of {more} more topic{'s' if more > 1 else ''}" if more else names[0]


def _ranges(numbers: tuple[int, ...]) -> str:
    """``0-3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
