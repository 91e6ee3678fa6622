"""Which worker of a flow runs which of its sources.

The workers that may run sources are one consumer group. Whoever owns the only partition of a
source's positions topic runs it. As all sources are of one group, Kafka's sticky assignor spreads
them evenly: no worker has two more than another. When a worker comes or goes only those move that
must; the others read on (KIP-429). With a group a source, chance decided, and one of three workers
could have all of them.

Nothing is read of these topics here, as they are paused: they are only owned. Two owners at a time,
as when a worker was frozen, are no danger: the next one fences the transactions of the one before.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import OFFSET_END, Consumer, KafkaException, Message, TopicPartition

from trunkline.kafka.poll_loop import POLL, STUCK
from trunkline.kafka.reasons import is_fatal
from trunkline.tasks import inheriting

log = logging.getLogger(__name__)

ASSIGNOR = "cooperative-sticky"
"""What the group's consumers must have."""
RELEASE_TIMEOUT = 10.0
"""Seconds for which sources that go to another worker are waited for. One whose system does not
answer must not hold up the others that move; what it still publishes is fenced."""


class OwnedSource(Protocol):
    """What a group has of a source. Called by the group's thread only."""

    name: str

    def acquire(self) -> None:
        """The source is this worker's: run it."""
        ...

    def release(self) -> None:
        """It goes to another worker: begin to stop it."""
        ...

    def wait_released(self, timeout: float) -> bool:
        """Wait until what was published is committed; False if that took longer."""
        ...


class SourceGroup:
    """This worker's membership. ``make_consumer``: a consumer with ``ASSIGNOR``. ``idle``: seconds
    that one poll waits. ``ready``: whether it has joined. ``failure``: what ended it, or None."""

    def __init__(
        self,
        name: str,
        make_consumer: Callable[[], Consumer],
        *,
        idle: float = POLL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._make_consumer = make_consumer
        self._idle = idle
        self._clock = clock
        self._sources: dict[str, OwnedSource] = {}
        self._turned = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=inheriting(self._run), name="sources", daemon=True)
        self.ready = False
        self.failure: BaseException | None = None

    def add(self, positions: str, source: OwnedSource) -> None:
        """This source, too, is shared; before the start. ``positions``: its topic."""
        self._sources[positions] = source

    def start(self) -> None:
        """Join, unless that was done."""
        if self._thread.ident is None:
            self._turned = self._clock()
            self._thread.start()

    async def stop(self) -> None:
        """Release all sources, and leave."""
        self._stopping.set()
        if self._thread.ident is not None:  # it may be stopped before it was started
            await asyncio.to_thread(self._thread.join)

    @property
    def stuck(self) -> bool:
        """Whether it runs and has not polled for so long that nothing comes of it."""
        return self._thread.is_alive() and self._clock() - self._turned > STUCK

    # The group's thread.

    def _run(self) -> None:
        try:
            consumer = self._make_consumer()
            consumer.subscribe(
                list(self._sources),
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
            while not self._stopping.is_set():
                self._turned = self._clock()
                self._heard(consumer.poll(self._idle))
            consumer.close()
        except Exception as failure:
            log.exception("the group of the flow's sources failed")
            self.failure = failure
            self._release(list(self._sources))  # nobody would hear that they are another's
        finally:
            self.ready = False

    def _heard(self, message: Message | None) -> None:
        error = message.error() if message is not None else None
        if error is None:
            return
        if is_fatal(error):
            raise KafkaException(error)
        log.warning("Kafka: %s", error.str(), extra={"group": self.name})

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # At their ends, so that nobody asks for committed offsets, which there are none of.
        ours = [TopicPartition(at.topic, at.partition, OFFSET_END) for at in partitions]
        consumer.incremental_assign(ours)
        consumer.pause(ours)
        self.ready = True
        for source in self._of(partitions):
            about = {"source": source.name}
            log.info("source %s is run by this worker now", source.name, extra=about)
            source.acquire()

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._release([at.topic for at in partitions if at.partition == 0])

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("the group has gone on without this worker: others run its sources")
        self._revoked(consumer, partitions)

    def _release(self, topics: list[str]) -> None:
        """All begin to stop before one is waited for."""
        going = [self._sources[topic] for topic in topics]
        for source in going:
            source.release()
        end = self._clock() + RELEASE_TIMEOUT
        for source in going:
            if source.wait_released(max(0.0, end - self._clock())):
                about = {"source": source.name}
                log.info("source %s is not run by this worker any more", source.name, extra=about)
            else:
                log.warning(
                    "source %s has not ended within %.0f s, and goes to another worker all the "
                    "same: what it still publishes is fenced",
                    source.name,
                    RELEASE_TIMEOUT,
                )

    def _of(self, partitions: list[TopicPartition]) -> list[OwnedSource]:
        # A positions topic has one partition. If somebody gave it more, the first one counts: else
        # two workers would fence each other for ever.
        return [self._sources[at.topic] for at in partitions if at.partition == 0]
