"""What a gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class GatewayMetrics:
    """The metrics of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "trunkline_gateway_requests",
            "Requests by operation and status.",
            ["system", "operation", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "trunkline_gateway_seconds",
            "Seconds until a call was answered.",
            ["system", "operation"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "trunkline_gateway_waiting", "Requests under way.", registry=self.registry
        )
        self.known = Gauge(
            "trunkline_gateway_calls",
            "Calls of the last day.",
            registry=self.registry,
        )

        self.keys_age = Gauge(
            "trunkline_gateway_issuer_keys_age_seconds",
            "Seconds since an issuer's keys were fetched.",
            ["issuer"],
            registry=self.registry,
        )

        self.audit_lost = Gauge(
            "trunkline_gateway_audit_lost",
            "Records of the audit that Kafka did not take.",
            registry=self.registry,
        )

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
