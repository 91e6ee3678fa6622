"""How much waits for one destination in this worker, for metrics, alerts and the status."""

from __future__ import annotations

from trunkline.streams.deliver.broker import Consumer
from trunkline.streams.deliver.tracker import OffsetTracker
from trunkline.streams.metrics import DeliveryMetrics
from trunkline.streams.retry.key_order import KeyOrder


class DeliveryGauges:
    """The gauges of one delivery step. They are asked for, and cost nothing between."""

    def __init__(
        self,
        consumer: Consumer,
        tracker: OffsetTracker,
        order: KeyOrder,
        metrics: DeliveryMetrics,
    ) -> None:
        self._consumer = consumer
        self._tracker = tracker
        self._order = order
        self._metrics = metrics

    @property
    def lag(self) -> int:
        """Events that are not done with: unread ones, and those in memory."""
        return self._consumer.lag + self._tracker.open

    @property
    def lag_seconds(self) -> float:
        """Age of the oldest event of the inbox that is neither delivered nor in a retry topic."""
        return self._tracker.oldest_age()

    @property
    def waiting(self) -> int:
        """Events that wait in retry topics, or behind one that does."""
        return self._order.blocked.count

    def refresh(self) -> None:
        """Bring the metrics up to date; called when they are read."""
        self._metrics.lag.set(self.lag)
        self._metrics.lag_seconds.set(self.lag_seconds)
        self._metrics.waiting.set(self.waiting)
