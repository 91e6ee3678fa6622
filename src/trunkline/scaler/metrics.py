"""What a scaler tells Prometheus: of each step that KEDA asks about."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trunkline.scaler.watch import Watch, Watches

LABELS = ["flow", "step", "name"]


class ScalerMetrics(Collector):
    """The metrics of one scaler, read when they are asked for."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Their names and meanings, without values."""
        return families()

    def collect(self) -> Iterable[Metric]:
        """As ``Collector`` says."""
        found = families()
        polled, active, sendable, workers, wake, age = found
        for watch in self._watches.polled_ones():
            labels = [watch.key.flow, watch.key.step, watch.key.destination]
            polled.add_metric(labels, self._watches.poll_age(watch))
            if watch.active is None:
                continue
            active.add_metric(labels, float(watch.active))
            sendable.add_metric(labels, watch.demand.sendable)
            workers.add_metric(labels, watch.demand.workers)
            wake.add_metric(labels, _moment(watch))
        if isfinite(seconds := self._watches.age()):
            age.add_metric([], seconds)
        return found


FAMILIES: list[tuple[str, str, float | None, list[str] | None]] = [
    (
        "trunkline_scaler_poll_age_seconds",
        "Seconds since KEDA asked last whether the step's workers must run.",
        None,
        LABELS,
    ),
    ("trunkline_scaler_active", "1 while the step's workers must run.", None, LABELS),
    ("trunkline_scaler_sendable", "Events that can be sent now.", None, LABELS),
    ("trunkline_scaler_workers", "Workers that are of use for them.", None, LABELS),
    (
        "trunkline_scaler_wake_timestamp_seconds",
        "From when there is something to do; 0 if nothing waits.",
        None,
        LABELS,
    ),
    ("trunkline_scaler_facts_age_seconds", "Age of the oldest answer in memory.", None, []),
]
"""Name, meaning and labels of each."""


def families() -> list[GaugeMetricFamily]:
    """The metrics without values, in this order."""
    return [GaugeMetricFamily(*about) for about in FAMILIES]


def _moment(watch: Watch) -> float:
    return watch.demand.wake_at if isfinite(watch.demand.wake_at) else 0.0
