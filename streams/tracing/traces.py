"""The parts of one flow's steps that tell of what they do: what the worker puts in their places."""

from __future__ import annotations

from typing import Any

from trunkline.connectors.base import Sink
from trunkline.params import Backbone
from trunkline.streams.metrics import Metrics
from trunkline.streams.publish.publisher import Publisher
from trunkline.streams.route.router import Router
from trunkline.streams.route.step import RoutingListener
from trunkline.streams.tracing.delivering import TracedSink
from trunkline.streams.tracing.publishing import TracedPublisher
from trunkline.streams.tracing.routing import CommittedRoutes, TracedRouter
from trunkline.streams.tracing.tracer import Tracer, otlp_exporter


class Traces:
    """What tells the collector of the flows of one process."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @classmethod
    def of(cls, backbone: Backbone, metrics: Metrics) -> Traces:
        """As the backbone says. ``metrics`` count what the collector did not get."""
        exporter, dropped = otlp_exporter(backbone.traces), metrics.spans_dropped.inc
        return cls(Tracer(exporter, ratio=backbone.traces_ratio, dropped=dropped))

    def publisher(self, *parts: Any, flow: str, source: str) -> Publisher:
        """A Publisher of these parts."""
        return TracedPublisher(*parts, tracer=self._tracer, flow=flow, name=source)

    def router(self, *parts: Any, flow: str) -> Router:
        """A Router of these parts."""
        return TracedRouter(*parts, tracer=self._tracer, flow=flow)

    def listener(self, router: Router, listener: RoutingListener) -> RoutingListener:
        """Whom the step of that router tells of its commits, beside ``listener``."""
        assert isinstance(router, TracedRouter)
        return CommittedRoutes(router, listener)

    def sink(self, sink: Sink[Any], *, flow: str, destination: str) -> Sink[Any]:
        """The sink of a destination."""
        return TracedSink(sink, self._tracer, flow, destination)

    def close(self) -> None:
        """Send what is left, for 2 seconds at the most. Blocks."""
        self._tracer.close()
