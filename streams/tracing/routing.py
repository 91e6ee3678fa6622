"""A Router that tells of each message which it makes of a sampled event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import Span

from trunkline.headers import CE_ID, TL_DEAD_FROM, TL_FROM
from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import AnyMessage
from trunkline.kafka.offsets import Partition
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.schemas.codec import MissingSchemas
from trunkline.streams.route.router import Router, RoutingResult
from trunkline.streams.route.step import RoutingListener
from trunkline.streams.tracing import tracer as names
from trunkline.streams.tracing.context import sampled_parent, with_traceparent
from trunkline.streams.tracing.tracer import CONSUMER, Tracer, finish, traceparent


class TracedRouter(Router):
    """Puts a span between each sampled event and each message that is made of it.

    Spans end with the transaction's commit: what was aborted is routed again, and its spans take
    the place of those before. For the event loop.
    """

    def __init__(self, *of_router: Any, tracer: Tracer, flow: str) -> None:
        super().__init__(*of_router)
        self._tracer = tracer
        self._attributes = {
            names.SYSTEM: names.KAFKA,
            names.OPERATION: "route",
            names.OPERATION_TYPE: "process",
            names.FLOW: flow,
            names.NAME: flow,
        }
        self._named = f"route {flow}"
        self._pending: dict[tuple[str, bytes], Span] = {}

    async def route(
        self,
        messages: Sequence[AnyMessage],
        *,
        seconds: float = float("inf"),
        missing: MissingSchemas | None = None,
    ) -> RoutingResult:
        """See ``Router.route``."""
        done = await super().route(messages, seconds=seconds, missing=missing)
        for index, record in enumerate(done.records):
            if parent := sampled_parent(record.headers):
                done.records[index] = self._traced(record, parent)
        return done

    def _traced(self, record: ProducerRecord, parent: bytes) -> ProducerRecord:
        named = dict(record.headers)
        came_from = named.get(TL_FROM) or named.get(TL_DEAD_FROM) or b""
        attributes = {**self._attributes, names.TOPIC: record.topic, **_of(named, came_from)}
        span = self._tracer.start(self._named, CONSUMER, attributes, parent=parent)
        self._pending[record.topic, came_from] = span
        headers = with_traceparent(record.headers, traceparent(span))
        return record._replace(headers=headers)

    def committed(self) -> None:
        """What was routed is in Kafka."""
        spans, self._pending = self._pending, {}
        for span in spans.values():
            finish(span)

    def forget(self) -> None:
        """Others may route what was not committed."""
        self._pending = {}


def _of(named: dict[str, Any], came_from: bytes) -> dict[str, str]:
    id_ = named.get(CE_ID) or b""
    return {
        names.MESSAGE_ID: id_.decode(errors="replace"),
        names.FROM: came_from.decode(errors="replace"),
    }


class CommittedRoutes(RoutingListener):
    """Tells the router of commits, and ``listener`` of all that it is to hear."""

    def __init__(self, router: TracedRouter, listener: RoutingListener) -> None:
        self._router = router
        self._listener = listener

    def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """See ``RoutingListener``."""
        self._router.forget()
        self._listener.on_assigned(partitions)

    def on_committed(self, batch: MicroBatch) -> None:
        """See ``RoutingListener``."""
        self._router.committed()
        self._listener.on_committed(batch)
