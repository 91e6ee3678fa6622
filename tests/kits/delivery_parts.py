"""One destination's parts, each real, around a broker in memory that is asked for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from delivery_kit import flow_of
from trunkline.event import Event
from trunkline.kafka import PartitionRecord
from trunkline.kafka.messages import StoredMessage
from trunkline.kafka.offsets import Partition
from trunkline.streams.deliver.actions import ActionRunner
from trunkline.streams.deliver.backpressure import Backpressure
from trunkline.streams.deliver.committer import CommitListener, OffsetCommitter
from trunkline.streams.deliver.offsets import PartitionOffsets
from trunkline.streams.deliver.tracker import OffsetTracker
from trunkline.streams.dlq.halted import HaltDecisions, HaltedEvent
from trunkline.streams.metrics import DeliveryMetrics, Metrics
from trunkline.streams.retry.key_order import KeyOrder
from trunkline.streams.retry.tiers import Tiers

FLOW = flow_of()
INBOX = FLOW.destinations[0].inbox


def message(offset: int, *, key: str = "a", at: float = 0.0, **headers: str) -> Any:
    """A message of the inbox, written ``at`` that many seconds."""
    named = [(name, text.encode()) for name, text in headers.items()]
    return StoredMessage(INBOX, 0, offset, key.encode(), b"{}", named, timestamp=int(at * 1000))


def event(offset: int, *, key: str = "a", topic: str = INBOX, **headers: str) -> Event[Any]:
    """The event of a message of partition 0."""
    named = [(name, text.encode()) for name, text in headers.items()]
    place: dict[str, Any] = {"topic": topic, "partition": 0, "offset": offset}
    return Event(key=key, value=b"{}", headers=named, decode=bytes, **place)


@dataclass
class Written:
    """A broker that takes commits, and refuses as many as it is told to."""

    commits: list[tuple[list[PartitionRecord], dict[str, int]]] = field(default_factory=list)
    refuses: int = 0

    async def write(
        self, records: list[PartitionRecord], offsets: list[TopicPartition], group: Any
    ) -> None:
        del group
        if self.refuses:
            self.refuses -= 1
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        self.commits.append((records, {at.topic: at.offset for at in offsets}))


@dataclass
class ReadOn:
    """A consumer that notes what it is asked. ``holds``: the partitions to hold, as they came."""

    holds: list[frozenset[Partition]] = field(default_factory=list)
    done: int = 0
    lag: int = 0
    epoch: int = 1
    group: Any = None

    def hold(self, partitions: frozenset[Partition]) -> None:
        self.holds.append(partitions)

    def finished(self, count: int, epoch: int) -> None:
        assert epoch == self.epoch
        self.done += count


class Heard(CommitListener):
    """What a committer tells."""

    def __init__(self) -> None:
        self.completed = 0
        self.committed: list[float] = []
        self.fatal: list[BaseException] = []

    def on_completed(self, count: int) -> None:
        self.completed += count

    def on_committed(self, began: float) -> None:
        self.committed.append(began)

    def on_fatal(self, error: BaseException) -> None:
        self.fatal.append(error)


class Decided(HaltDecisions):
    """What an operator decided, by sequence number; ``applied``: what came of it is committed."""

    def __init__(self, decisions: Mapping[str, str]) -> None:
        self.decisions = decisions
        self.applied: list[HaltedEvent] = []

    def decision(self, halted: HaltedEvent) -> str:
        return self.decisions.get(halted.sequence, "")

    def on_applied(self, halted: HaltedEvent) -> None:
        self.applied.append(halted)


class Parts:
    """Everything of a delivery step that needs no sink. ``clock.now``: epoch seconds."""

    def __init__(self, decisions: Mapping[str, str] | None = None) -> None:
        self.clock = SimpleNamespace(now=100.0)
        self.broker, self.consumer, self.heard = Written(), ReadOn(), Heard()
        self.decisions = Decided(decisions or {})
        self.registry = Metrics()
        self.metrics = DeliveryMetrics(self.registry, FLOW.name, "erp")
        self.tracker = OffsetTracker(INBOX, self._now)
        self.tracker.begin({(INBOX, 0): PartitionOffsets()}, {})
        self.backpressure = Backpressure(cast(Any, self.consumer), self.tracker)
        self.committer = OffsetCommitter(
            INBOX,
            self.tracker,
            cast(Any, self.broker),
            cast(Any, self.consumer),
            listener=self.heard,
            metrics=self.metrics,
            urgent=FLOW.destinations[0].calls,
        )
        self.tiers = Tiers(FLOW.destinations[0], self._now, lambda: 0.0)
        self.order = KeyOrder(self.backpressure, self.tiers.delays, ordered=True, clock=self._now)
        self.runner = ActionRunner(
            self.order, self.tiers, self.committer, self.decisions, self.metrics
        )

    def _now(self) -> float:
        return float(self.clock.now)

    def read(self, *offsets: int) -> list[Any]:
        """Messages of the inbox are read; returns those that are to be delivered."""
        return self.committer.receive([message(offset) for offset in offsets])

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of one of the destination's metrics."""
        mine = {"flow": FLOW.name, "step": "deliver", "name": "erp"}
        return self.registry.registry.get_sample_value(name, {**mine, **labels})
