"""Follows a topic in a thread of its own, and keeps the rows of its tables.

Joins no consumer group and commits nothing: each worker reads all partitions. Where it goes on
after a restart is kept with the rows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from trunkline import kafka
from trunkline.errors import TABLE_UNAVAILABLE, TrunklineError
from trunkline.kafka import KafkaUnavailable
from trunkline.kafka.clients import low_latency
from trunkline.kafka.reading import high_watermarks, poll, watermarks
from trunkline.kafka.topic_facts import TopicFacts, topic_facts
from trunkline.params import Backbone
from trunkline.streams.tables.store import Store, StoreOpener
from trunkline.streams.tables.stored_state import FORMAT
from trunkline.streams.tables.table_set import TopicTables
from trunkline.tasks import backoff

log = logging.getLogger(__name__)

BATCH = 5_000
"""Most records of one write."""
POLL = 0.2
"""Seconds that one poll waits: how late a stop is noticed."""
REFRESH = 10.0
"""Seconds between two looks whether the topic has more partitions, or was made anew."""
HEARTBEAT = 60.0
"""Seconds after which a store learns that its rows are fresh although nothing has changed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds before Kafka or the registry is asked again."""


class TopicReplaced(TrunklineError):
    """The topic of a table was made anew while it was read: the rows are those of another one."""


class TableReader:
    """One topic of a worker's tables.

    ``run`` is its thread; it ends by ``stop``, or with a ``failure``. Other threads look at
    ``caught_up`` (everything is read that was in the topic when the reader began), ``rows`` and
    ``lag``; ``notify`` is called, in the reader's thread, when one of ``caught_up`` and ``failure``
    has changed.
    """

    def __init__(
        self,
        backbone: Backbone,
        tables: TopicTables,
        open_store: StoreOpener,
        learn: Callable[[set[bytes]], set[bytes]],
        notify: Callable[[], None],
    ) -> None:
        self._backbone = backbone
        self._tables = tables
        self._topic = tables.topic
        self._open_store = open_store
        self._learn = learn
        self._notify = notify
        self._stopped = threading.Event()
        self._store: Store | None = None
        self._next: dict[int, int] = {}
        self._at_end: set[int] = set()
        self._written_at = 0.0
        self._refreshed_at = 0.0
        self.caught_up = False
        self.lag = 0
        self.failure: BaseException | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return 0 if self._store is None else self._store.rows

    def stop(self) -> None:
        """End ``run`` soon. From any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Release the store, when ``run`` has ended and nobody looks up any more."""
        if self._store is not None:
            self._store.close()

    def run(self) -> None:
        """Read the topic until ``stop``.

        1. Ask Kafka which topic it is, and where it ends; wait for Kafka as long as it takes.
        2. Open the store, and go on behind its rows, if they are of this topic.
        3. Read to these ends; then the tables have caught up.
        4. Follow the topic; look from time to time whether it has more partitions.
        """
        try:
            self._run()
        except Exception as failure:
            log.exception("the tables of %s cannot be kept", self._topic)
            self.failure = failure
            self._notify()

    def _run(self) -> None:
        began = time.monotonic()
        asked = self._patiently(self._ask)
        if asked is None:  # stopped
            return
        facts, spans = asked
        self._warn_of(facts)
        self._store, self._state = self._open_store(
            lambda state: state.why_not(
                self._identity(facts), spans, facts.delete_retention, time.time()
            )
        )
        found = self._store.rows
        self._state.identity = self._identity(facts)
        self._state.fresh_at = self._state.fresh_at or time.time()
        self._next = {p: self._state.offsets.get(p, 0) for p in spans}
        self._writer = self._tables.writer(self._store)
        self._learn_schemas(self._state.schemas)
        # Two consumers, one after the other: the start waits for the end of the topic, so the
        # first asks Kafka with low latency, at the price of CPU that a follower should not pay.
        records = 0
        with closing(self._consumer(low_latency(self._backbone))) as consumer:
            while not self._stopped.is_set() and self._behind(spans):
                records += self._read(consumer)
        if self._stopped.is_set():
            return
        self._writer.finish()
        self._tell(found, records, time.monotonic() - began)
        self.caught_up = True
        self._notify()
        self._refreshed_at = time.monotonic()
        with closing(self._consumer(self._backbone)) as consumer:
            while not self._stopped.is_set():
                self._read(consumer)
                self._refresh(consumer, facts)

    # Asking Kafka.

    def _ask(self) -> tuple[TopicFacts, dict[int, range]]:
        """What the topic is, and which offsets its partitions have now."""
        facts = topic_facts(kafka.admin(self._backbone), self._topic)
        places = [TopicPartition(self._topic, number) for number in range(facts.partitions)]
        # The high watermark, and not the last stable offset: what an open transaction hides may be
        # what another worker, or this one before it was killed, has read already.
        ends = high_watermarks(self._backbone, places)
        with closing(kafka.consumer(self._backbone, self._topic)) as client:
            starts = {p.partition: watermarks(client, (p.topic, p.partition)).start for p in places}
        return facts, {n: range(starts[n], ends[self._topic, n]) for n in starts}

    def _identity(self, facts: TopicFacts) -> dict[str, Any]:
        """What the rows and entries of a store are of. Partitions may be added to a topic, and a
        type may change: rows are decoded when they are looked up. Entries are not."""
        return {"format": FORMAT, "cluster": facts.cluster, "topic": facts.id} | (
            self._tables.identity
        )

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """What ``ask`` returns, once Kafka answers; None if the reader was stopped."""
        for pause in backoff(FIRST_PAUSE, LONGEST_PAUSE):
            try:
                return ask()
            except (KafkaException, KafkaUnavailable, TimeoutError) as error:
                log.warning("the tables of %s wait for Kafka: %s", self._topic, error)
            if self._stopped.wait(pause):
                return None
        return None

    def _warn_of(self, facts: TopicFacts) -> None:
        if not facts.keeps_all:
            log.warning(
                "the topic %s deletes records by their age or its size, so its tables lose rows "
                "that are still valid: set cleanup.policy=compact",
                self._topic,
            )

    # Reading.

    def _consumer(self, backbone: Backbone) -> Consumer:
        consumer = kafka.consumer(backbone, self._topic, eof=True)
        self._assign(consumer)
        return consumer

    def _assign(self, consumer: Consumer) -> None:
        self._at_end.clear()
        consumer.assign([TopicPartition(self._topic, p, at) for p, at in self._next.items()])

    def _behind(self, spans: Mapping[int, range]) -> bool:
        return any(self._next[partition] < span.stop for partition, span in spans.items())

    def _read(self, consumer: Consumer) -> int:
        """Take what has arrived into the store; returns how many records that is."""
        arrived, _ = poll(consumer, BATCH, POLL)
        records = [message for message in arrived if message.error() is None]
        self._advance(arrived)
        due = time.monotonic() - self._written_at > HEARTBEAT
        if records or due:
            self._write(records)
        self.lag = self._lag(consumer)
        return len(records)

    def _advance(self, arrived: Iterable[Message]) -> None:
        """Note how far each partition is read. Raises TopicReplaced if offsets go backwards."""
        for message in arrived:
            partition, offset = message.partition(), message.offset()
            if partition is None or offset is None:
                continue
            if offset < self._next[partition]:
                raise self._replaced(f"offset {offset} of partition {partition} came again")
            if message.error() is None:
                self._next[partition] = offset + 1
                self._at_end.discard(partition)
            else:  # an end is told with the offset that the next record will have
                self._next[partition] = offset
                self._at_end.add(partition)

    def _write(self, records: list[Message]) -> None:
        """Apply records; waits for the registry if an index needs a schema."""
        self._learn_schemas({value[:5] for message in records if (value := message.value())})
        state = self._state
        state.offsets = dict(self._next)
        if self.caught_up and len(self._at_end) == len(self._next):
            state.fresh_at = time.time()
        for pause in backoff(FIRST_PAUSE, LONGEST_PAUSE):
            try:
                self._writer.apply(records, state)
                break
            except TABLE_UNAVAILABLE as error:
                log.warning("the tables of %s wait: %s", self._topic, error)
            if self._stopped.wait(pause):
                return
        self._written_at = time.monotonic()

    def _learn_schemas(self, prefixes: set[bytes]) -> None:
        """Ask for the schemas of values, so that no look-up in the event loop waits for them."""
        for pause in backoff(FIRST_PAUSE, LONGEST_PAUSE):
            try:
                self._state.schemas |= self._learn(prefixes)
                return
            except TABLE_UNAVAILABLE as error:
                log.warning("the tables of %s wait: %s", self._topic, error)
            if self._stopped.wait(pause):
                return

    def _lag(self, consumer: Consumer) -> int:
        lag = 0
        for partition, at in self._next.items():
            place = TopicPartition(self._topic, partition)
            _, high = consumer.get_watermark_offsets(place, cached=True)
            lag += max(0, high - at)
        return lag

    def _refresh(self, consumer: Consumer, before: TopicFacts) -> None:
        """See whether the topic has more partitions, which are then read from their beginning.

        Raises TopicReplaced if it is another topic now.
        """
        if time.monotonic() - self._refreshed_at < REFRESH:
            return
        self._refreshed_at = time.monotonic()
        try:
            facts = topic_facts(kafka.admin(self._backbone), self._topic)
        except (KafkaException, TimeoutError) as error:
            log.warning("the topic %s could not be looked at: %s", self._topic, error)
            return
        if facts.id != before.id:
            raise self._replaced("it has another id")
        new = set(range(facts.partitions)) - self._next.keys()
        if new:
            log.info("the topic %s has %d more partitions", self._topic, len(new))
            self._next |= dict.fromkeys(new, 0)
            self._assign(consumer)

    def _replaced(self, how: str) -> TopicReplaced:
        return TopicReplaced(
            f"the topic {self._topic} was made anew ({how}): the worker ends, and reads its tables "
            "from the beginning when it starts again"
        )

    def _tell(self, found: int, records: int, seconds: float) -> None:
        for name in self._tables.names:
            log.info(
                "table %s: %s rows, of them %s from disk; %s records read in %.1f s",
                *(name, f"{self.rows:,}", f"{found:,}", f"{records:,}", seconds),
            )
