"""What every worker counts, in Prometheus' form. Counted per micro-batch, never per event."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The metrics of one worker. ``step``: publish, route or deliver; ``name``: the source,
    flow or destination."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        by_name = ["flow", "step", "name"]
        self.events_in = Counter(
            "trunkline_events_in", "Events that a step received.", by_name, registry=self.registry
        )
        self.events_out = Counter(
            "trunkline_events_out",
            "Events that a step published, routed or delivered.",
            by_name,
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "trunkline_dead_letters",
            "Events that a step sent to a dead-letter queue.",
            by_name,
            registry=self.registry,
        )
        self.errors = Counter(
            "trunkline_errors",
            "Errors by class.",
            [*by_name, "error"],
            registry=self.registry,
        )
        self.transaction_failures = Counter(
            "trunkline_transaction_failures",
            "Kafka transactions that were aborted and repeated.",
            by_name,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "trunkline_batch_seconds",
            "Time that a step took for one batch, from read to committed or delivered.",
            by_name,
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.lag = Gauge(
            "trunkline_lag_messages",
            "Events that wait for a step in the partitions of this worker.",
            by_name,
            registry=self.registry,
        )
        self.lag_seconds = Gauge(
            "trunkline_lag_seconds",
            "Age of the oldest event that a step of this worker has not finished.",
            by_name,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "trunkline_waiting_events",
            "Events that wait in retry tiers, or behind one that does.",
            by_name,
            registry=self.registry,
        )
        self.retries = Counter(
            "trunkline_retries",
            "Events that were written to a retry tier.",
            [*by_name, "tier"],
            registry=self.registry,
        )
        self.retry_lateness = Histogram(
            "trunkline_retry_lateness_seconds",
            "How much later than due an event of a tier had its turn.",
            by_name,
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.breaker_state = Gauge(
            "trunkline_breaker_state",
            "0 closed, 1 half-open or ramping up, 2 open.",
            by_name,
            registry=self.registry,
        )
        self.breaker_open_seconds = Gauge(
            "trunkline_breaker_open_seconds",
            "How long the breaker has not been closed; 0 if it is.",
            by_name,
            registry=self.registry,
        )
        self.valve_closed = Gauge(
            "trunkline_valve_closed",
            "1 while the valve holds deliveries, since too many were dead-lettered.",
            by_name,
            registry=self.registry,
        )


class StepMetrics:
    """The metrics of one step of one worker, labels bound once."""

    def __init__(self, metrics: Metrics, flow: str, step: str, name: str) -> None:
        labels = (flow, step, name)
        self._labels = labels
        self._errors = metrics.errors
        self.events_in = metrics.events_in.labels(*labels)
        self.events_out = metrics.events_out.labels(*labels)
        self.dead_letters = metrics.dead_letters.labels(*labels)
        self.transaction_failures = metrics.transaction_failures.labels(*labels)
        self.batch_seconds = metrics.batch_seconds.labels(*labels)
        self.lag = metrics.lag.labels(*labels)
        self.lag_seconds = metrics.lag_seconds.labels(*labels)

    def error(self, error: BaseException, count: int = 1) -> None:
        """Count an error under its class name."""
        self._errors.labels(*self._labels, type(error).__name__).inc(count)


class DeliveryMetrics(StepMetrics):
    """The metrics of one destination in one worker."""

    def __init__(self, metrics: Metrics, flow: str, name: str) -> None:
        super().__init__(metrics, flow, "deliver", name)
        labels = (flow, "deliver", name)
        self._retries = metrics.retries
        self.waiting = metrics.waiting.labels(*labels)
        self.retry_lateness = metrics.retry_lateness.labels(*labels)
        self.breaker_state = metrics.breaker_state.labels(*labels)
        self.breaker_open_seconds = metrics.breaker_open_seconds.labels(*labels)
        self.valve_closed = metrics.valve_closed.labels(*labels)

    def retried(self, topic: str) -> None:
        """Count an event that was written to a tier."""
        self._retries.labels(*self._labels, topic.rpartition(".")[2]).inc()
