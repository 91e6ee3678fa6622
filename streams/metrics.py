"""What every worker counts, in Prometheus' form. Counted per micro-batch, never per event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from trunkline.naming import delay_of, destination_of
from trunkline.streams.listener import BrokenRule, OutcomeListener

EnrichmentOutcome = Literal["enriched", "cached", "dropped", "failed"]
_BY = ("flow", "step", "name")
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The metrics of one worker. ``step``: publish, route or deliver; ``name``: the source,
    flow or destination."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_every_step()
        self._of_sources()
        self._of_deliveries()
        self._of_tables()
        self._of_enrichments()
        self.spans_dropped = Counter(
            "trunkline_spans_dropped",
            "Spans that the collector of traces did not get, as it was away or too slow.",
            registry=self.registry,
        )
        self.flow_held = Gauge(
            "trunkline_flow_held",
            "1 while a flow that shares its process with others does not run, and is tried again.",
            ["flow"],
            registry=self.registry,
        )

    def forget_gauges(self, flow: str) -> None:
        """A flow does not run any more: what its gauges say would stand still, and look true. What
        was counted goes on when the flow does."""
        for metric in vars(self).values():
            if isinstance(metric, Gauge):
                metric.remove_by_labels({"flow": flow})

    def _of_every_step(self) -> None:
        self.events_in = self._counter("trunkline_events_in", "Events that a step received.")
        self.events_out = self._counter(
            "trunkline_events_out", "Events that a step published, routed or delivered."
        )
        self.dead_letters = self._counter(
            "trunkline_dead_letters", "Events that a step sent to a dead-letter queue."
        )
        self.left_out = self._counter(
            "trunkline_left_out",
            "Records of which a canonical topic's function made no event (None); without a topic: "
            "those of streams that the flow ignores.",
            "topic",
        )
        self.rule_violations = self._counter(
            "trunkline_rule_violations",
            "Events that were dead-lettered for a rule of their type's schema, by type and rule; "
            "one that breaks two counts for both.",
            "type",
            "rule",
        )
        self.dropped_deletes = self._counter(
            "trunkline_dropped_deletes",
            "Deletes that a destination did not get, since its sink takes none; the first one is "
            "logged.",
        )
        self.errors = self._counter("trunkline_errors", "Errors by class.", "error")
        self.transaction_failures = self._counter(
            "trunkline_transaction_failures", "Kafka transactions that were aborted and repeated."
        )
        self.batch_seconds = self._histogram(
            "trunkline_batch_seconds",
            "Time that a step took for one batch, from read to committed or delivered.",
        )
        self.lag = self._gauge(
            "trunkline_lag_messages",
            "Events that wait for a step in the partitions of this worker.",
        )
        self.lag_seconds = self._gauge(
            "trunkline_lag_seconds",
            "Age of the oldest event that a step of this worker has not finished; of a source also "
            "how long it has failed, waited or not reached its system's end.",
        )

        self.held_partitions = self._gauge(
            "trunkline_held_partitions",
            "Partitions of which nothing has been routed for 5 seconds or more, since a route or "
            "the registry has no answer.",
        )
        self.held_seconds = self._gauge(
            "trunkline_held_seconds", "How long the one that is held longest is held; 0 if none is."
        )

    def _of_sources(self) -> None:
        self.source_gauge = Gauge(
            "trunkline_source_gauge",
            "What a source's system knows of it, by the gauge's name, which ends with its unit; "
            "asked every 15 seconds by the worker that has its position.",
            [*_BY, "gauge"],
            registry=self.registry,
        )
        self.source_at_risk = self._gauge(
            "trunkline_source_at_risk",
            "1 while a source's system says that the source will stop, or do harm; what it said "
            "last while it cannot be asked.",
        )

    def _of_deliveries(self) -> None:
        self.waiting = self._gauge(
            "trunkline_waiting_events", "Events that wait in retry tiers, or behind one that does."
        )
        self.retries = self._counter(
            "trunkline_retries", "Events that were written to a retry tier.", "tier"
        )
        self.retry_lateness = self._histogram(
            "trunkline_retry_lateness_seconds",
            "How much later than due an event of a tier had its turn.",
        )
        self.breaker_state = self._gauge(
            "trunkline_breaker_state", "0 closed, 1 half-open or slow start, 2 open."
        )
        self.breaker_open_seconds = self._gauge(
            "trunkline_breaker_open_seconds",
            "How long the breaker has not been closed; 0 if it is.",
        )
        self.dead_letter_limit_tripped = self._gauge(
            "trunkline_dead_letter_limit_tripped",
            "1 while deliveries are stopped, since too many events were dead-lettered.",
        )

    def _of_tables(self) -> None:
        self.table_rows = self._gauge("trunkline_table_rows", "Rows of a table of this worker.")
        self.table_lag = self._gauge(
            "trunkline_table_lag_messages", "Records of a table's topic that it has not read."
        )

    def _of_enrichments(self) -> None:
        self.enrichments = self._counter(
            "trunkline_enrichments",
            "Messages for which a destination's enrichment was asked, by what came of it.",
            "outcome",
        )
        self.enrichment_seconds = self._histogram(
            "trunkline_enrichment_seconds", "Time of one call of an enrichment's function."
        )

    def _counter(self, name: str, says: str, *more: str) -> Counter:
        return Counter(name, says, [*_BY, *more], registry=self.registry)

    def _gauge(self, name: str, says: str) -> Gauge:
        return Gauge(name, says, _BY, registry=self.registry)

    def _histogram(self, name: str, says: str) -> Histogram:
        return Histogram(name, says, _BY, registry=self.registry, buckets=_BUCKETS)


@runtime_checkable
class HasGauges(Protocol):
    """A step with gauges that must be set before they are read: lag, what waits, breaker states."""

    def refresh(self) -> None:
        """Bring the gauges up to date. Called once a second, and when the metrics are read."""


class StepMetrics(OutcomeListener):
    """The metrics of one step of one worker, labels bound once. They listen to what becomes of
    events; what else they count, the step itself counts."""

    def __init__(self, metrics: Metrics, flow: str, step: str, name: str) -> None:
        labels = (flow, step, name)
        self._labels = labels
        self._errors = metrics.errors
        self._dropped_deletes = metrics.dropped_deletes
        self._left_out = metrics.left_out
        self._rule_violations = metrics.rule_violations
        self.events_in = metrics.events_in.labels(*labels)
        self.events_out = metrics.events_out.labels(*labels)
        self.dead_letters = metrics.dead_letters.labels(*labels)
        self.transaction_failures = metrics.transaction_failures.labels(*labels)
        self.batch_seconds = metrics.batch_seconds.labels(*labels)
        self.lag = metrics.lag.labels(*labels)
        self.lag_seconds = metrics.lag_seconds.labels(*labels)

    def on_delivered(self, count: int) -> None:
        """Count events that were published, routed or delivered."""
        self.events_out.inc(count)

    def on_retried(self, error: Exception) -> None:
        """Count the error of an attempt that failed."""
        self._count_error(error)

    def on_dead_lettered(self, queue: str, count: int, error: Exception) -> None:
        """Count dead letters, and their error."""
        self.dead_letters.inc(count)
        self._count_error(error, count)

    def on_rules_broken(self, broken: Mapping[BrokenRule, int]) -> None:
        """Count events by the rules that they break."""
        for rule, count in broken.items():
            self._rule_violations.labels(*self._labels, *rule).inc(count)

    def on_left_out(self, topic: str, count: int) -> None:
        """Count records that are left out on purpose."""
        self._left_out.labels(*self._labels, topic).inc(count)

    def on_held(self, error: Exception) -> None:
        """Count the error that holds everything."""
        self._count_error(error)

    def on_lag(self, seconds: float) -> None:
        """Set the age of the oldest event that is not finished."""
        self.lag_seconds.set(seconds)

    def on_dropped_deletes(self, inbox: str, count: int) -> None:
        """Count deletes that the destination of this inbox did not get."""
        flow, step, _ = self._labels
        name = destination_of(inbox).removeprefix(f"{flow}.")
        self._dropped_deletes.labels(flow, step, name).inc(count)

    def _count_error(self, error: Exception, count: int = 1) -> None:
        self._errors.labels(*self._labels, type(error).__name__).inc(count)


class SourceMetrics(StepMetrics):
    """The metrics of a source that reads, in one worker."""

    def __init__(self, metrics: Metrics, flow: str, name: str) -> None:
        super().__init__(metrics, flow, "publish", name)
        self._gauge = metrics.source_gauge
        self._at_risk = metrics.source_at_risk.labels(flow, "publish", name)
        self._told: set[str] = set()

    def told(self, gauges: Mapping[str, float], *, at_risk: bool) -> None:
        """Set what the system tells; what it does not tell any more is gone, as nobody knows it."""
        for name in self._told - gauges.keys():
            self._gauge.remove(*self._labels, name)
        for name, value in gauges.items():
            self._gauge.labels(*self._labels, name).set(value)
        self._told = set(gauges)
        self._at_risk.set(at_risk)


class RoutingMetrics(StepMetrics):
    """The metrics of the routing of one worker."""

    def __init__(self, metrics: Metrics, flow: str) -> None:
        super().__init__(metrics, flow, "route", flow)
        labels = (flow, "route", flow)
        self.held_partitions = metrics.held_partitions.labels(*labels)
        self.held_seconds = metrics.held_seconds.labels(*labels)


class DeliveryMetrics(StepMetrics):
    """The metrics of one destination in one worker."""

    def __init__(self, metrics: Metrics, flow: str, name: str) -> None:
        super().__init__(metrics, flow, "deliver", name)
        labels = (flow, "deliver", name)
        self._retries = metrics.retries
        self._enrichments = metrics.enrichments
        self._enrichment_seconds = metrics.enrichment_seconds
        self.waiting = metrics.waiting.labels(*labels)
        self.retry_lateness = metrics.retry_lateness.labels(*labels)
        self.breaker_state = metrics.breaker_state.labels(*labels)
        self.breaker_open_seconds = metrics.breaker_open_seconds.labels(*labels)
        self.dead_letter_limit_tripped = metrics.dead_letter_limit_tripped.labels(*labels)

    def retried(self, topic: str) -> None:
        """Count an event that was written to a tier."""
        self._retries.labels(*self._labels, delay_of(topic)).inc()

    def enriched(self, outcome: EnrichmentOutcome, seconds: float | None = None) -> None:
        """Count what came of a message's enrichment; ``seconds``: of the call, if there was one."""
        self._enrichments.labels(*self._labels, outcome).inc()
        if seconds is not None:
            self._enrichment_seconds.labels(*self._labels).observe(seconds)


class TableMetrics:
    """The metrics of one table in one worker."""

    def __init__(self, metrics: Metrics, flow: str, name: str) -> None:
        self.rows = metrics.table_rows.labels(flow, "table", name)
        self.lag = metrics.table_lag.labels(flow, "table", name)
