"""A source in one worker, without Kafka: its step, and a source that has so many batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, Producer

from keeping_producer import KeepingProducer
from trunkline import Record
from trunkline.connectors.base import Batch, Position, Source
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.metrics import Metrics, SourceMetrics
from trunkline.streams.publish.letter_limit import LetterLimit
from trunkline.streams.publish.publisher import Publisher, TopicMapping
from trunkline.streams.publish.source_group import SourceGroup
from trunkline.streams.publish.source_step import SourceStep
from trunkline.streams.publish.stored_position import StoredPosition


class Numbers(Source):
    """A source of records 1, 2, 3, …, whose position is the newest one's number. It has as many
    as ``batches`` says and then waits for more, as a database's log does."""

    def __init__(self, batches: list[int]) -> None:
        self.batches = batches
        self.acknowledged: list[Position] = []
        self.read_from: list[Position | None] = []
        self.closed = 0
        self.waits = threading.Event()

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        self.read_from.append(position)
        at = cast(int, position or 0)
        while self.batches and not stop.is_set():
            numbers = range(at + 1, at + 1 + self.batches.pop(0))
            at = numbers[-1]
            yield Batch([Record(key=str(n), data={}) for n in numbers], at)
        self.waits.set()
        stop.wait(5)

    def acknowledge(self, position: Position) -> None:
        self.acknowledged.append(position)

    def close(self) -> None:
        self.closed += 1


class TwoBatches(Numbers):
    """Has two batches behind each position that it is read from."""

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        self.batches = [2, 2]
        return super().read(position, stop)


class Running:
    """A step over ``source`` whose position is this worker's."""

    def __init__(
        self,
        source: Numbers,
        *,
        failures: int = 0,
        function: Callable[[Record], Any] = lambda record: record.data,
        limit: DeadLetterLimit | None = None,
        linger: float = 0.0,
    ) -> None:
        self.source = source
        self.producer = KeepingProducer()
        self.producer.failures = [KafkaError(KafkaError._STATE)] * failures
        self.metrics = SourceMetrics(Metrics(), "shop", "db")
        topic = TopicMapping("orders", function, lambda data: b"{}")
        self.step = SourceStep(
            "db",
            "shop.db.positions",
            Publisher("/shop/db", "shop.db.dlq", [topic]),
            build=self.build,
            group=SourceGroup("shop.sources", cast(Callable[[], Consumer], None)),
            make_producer=lambda: cast(Producer, self.producer),
            stored=StoredPosition("db", "shop.db.positions", newest=self.newest, every=list),
            metrics=self.metrics,
            outcome_listener=self.metrics,
            limit=LetterLimit(limit),
            linger=linger,
        )
        # It asks for gauges as soon as there is a position, if it happens to look then, and closes
        # what it asked: an instance of its own, as a real one is, and not the one that is counted.
        self.step._watch._build = lambda: Numbers([])

    def build(self) -> Source:
        return self.source

    def newest(self) -> Any:
        """The newest position that was committed."""

        class Stored:
            def value(self) -> bytes:
                return b'{"position": %d}' % count

        count = sum(len(keys) - 1 for keys, _ in self.producer.committed)
        return Stored() if count else None

    def __enter__(self) -> Running:
        self.step.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.step.release()
        assert self.step.wait_released(5)

    @property
    def status(self) -> str:
        """The state that is told; "" for a source that is another worker's."""
        found = self.step.status
        return found.state if found is not None else ""

    def lag(self) -> float:
        """As the metrics show it, a second later at the most."""
        self.step.refresh()
        shown: float = self.metrics.lag_seconds._value.get()
        return shown

    @property
    def committed(self) -> list[list[bytes]]:
        """The keys of each transaction's records; the position's is the source's name."""
        return [keys for keys, _ in self.producer.committed]


def eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)
