"""A sink each call of which tells of the attempts that it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.trace import Span

from trunkline.connectors.base import Finding, HttpReply, HttpRequest, Sink
from trunkline.errors import PartialFailure
from trunkline.event import Event, under
from trunkline.streams.journal.doubt import NotAsked
from trunkline.streams.retry.tiers import failures_of
from trunkline.streams.tracing import tracer as names
from trunkline.streams.tracing.context import sampled_parent, traceparent_of
from trunkline.streams.tracing.tracer import CLIENT, MAX_LINKS, Tracer, finish, traceparent

RECORDED_FAILURE = 2
"""Which failed attempt is recorded though its event is not sampled: the first may be chance."""


class TracedSink(Sink[Any]):
    """Hands events to ``sink``, each sampled one with a span of its attempt, whose context goes out
    with it. Retries have the parent of the first attempt, the route, and ``tl.attempt``.

    One call of several events has a span of its own, in a trace of its own, that links to up to 128
    of their attempts. An event that is not sampled and fails for the second time is recorded then,
    in a new trace that links to its own.
    """

    def __init__(self, sink: Sink[Any], tracer: Tracer, flow: str, name: str) -> None:
        self._sink = sink
        self._tracer = tracer
        self._attributes = {
            names.OPERATION: "deliver",
            names.OPERATION_TYPE: "process",
            names.SYSTEM: names.KAFKA,
            names.FLOW: flow,
            names.NAME: name,
        }
        self._named = f"deliver {flow}.{name}"
        self.type = sink.type
        self.accepts_deletes = sink.accepts_deletes
        self.max_batch = sink.max_batch
        self.concurrency = sink.concurrency
        self.appends = sink.appends
        self.takes_calls = sink.takes_calls
        self.keeps_timeout = sink.keeps_timeout

    async def open(self) -> None:
        """Open the sink."""
        await self._sink.open()

    async def close(self) -> None:
        """Close the sink."""
        await self._sink.close()

    def check(self) -> list[Finding]:
        """As the sink."""
        return list(self._sink.check())

    async def call(self, request: HttpRequest, id: str, traceparent: str = "") -> HttpReply:
        """As the sink."""
        return await self._sink.call(request, id, traceparent)

    async def deliver(self, events: Sequence[Event[Any]]) -> None:
        """As the sink, and tell of it."""
        began, spans, given = time.time_ns(), dict[int, Span](), list(events)
        for index, event in enumerate(events):
            if context := sampled_parent(event.headers):
                span = spans[index] = self._attempt(event, context)
                given[index] = under(event, traceparent(span))
        whole = self._request(spans, len(given)) if spans and len(given) > 1 else None
        failed: BaseException | None = None
        try:
            await self._sink.deliver(given)
        except BaseException as error:
            failed = None if isinstance(error, NotAsked) else error
            raise
        finally:
            if spans or failed is not None:
                self._tell(given, spans, whole, failed, began)

    def _attempt(self, event: Event[Any], context: bytes) -> Span:
        attributes = {**self._attributes, **_place(event), names.ATTEMPT: failures_of(event) + 1}
        return self._tracer.start(self._named, CLIENT, attributes, parent=context)

    def _request(self, spans: Mapping[int, Span], count: int) -> Span:
        links = list(spans.values())[:MAX_LINKS]
        attributes = {**self._attributes, names.COUNT: count}
        return self._tracer.start(f"{self._named} batch", CLIENT, attributes, links=links)

    def _tell(
        self,
        events: Sequence[Event[Any]],
        spans: Mapping[int, Span],
        whole: Span | None,
        failed: BaseException | None,
        began: int,
    ) -> None:
        failures: Mapping[int, BaseException] = {}
        if isinstance(failed, PartialFailure):
            failures = failed.failures
        elif failed is not None:
            failures = dict.fromkeys(range(len(events)), failed)
        for index, span in spans.items():
            finish(span, failures.get(index))
        if whole is not None:
            finish(whole, failed)
        for index, error in failures.items():
            if index not in spans and isinstance(error, Exception) and 0 <= index < len(events):
                self._record_again(events[index], error, began)

    def _record_again(self, event: Event[Any], error: Exception, began: int) -> None:
        if failures_of(event) + 1 != RECORDED_FAILURE:
            return
        attributes = {**self._attributes, **_place(event), names.ATTEMPT: RECORDED_FAILURE}
        to = traceparent_of(event.headers)
        finish(self._tracer.start_linked(self._named, attributes, to, began), error)


def _place(event: Event[Any]) -> dict[str, Any]:
    return {
        names.TOPIC: event.topic,
        names.PARTITION: str(event.partition),
        names.OFFSET: event.offset,
        names.MESSAGE_ID: event.id,
    }
