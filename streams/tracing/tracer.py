"""The spans of one process, and the names of what stands in them.

Names after OpenTelemetry's semantic conventions for messaging, 0.66; ``tests/unit/tracing`` holds
them against the package. Keys and values of events are in no span.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from trunkline.logs import worker_name
from trunkline.streams.tracing.context import ids_of
from trunkline.streams.tracing.export import CLOSE_WITHIN, BoundedExport

SYSTEM, KAFKA = "messaging.system", "kafka"
TOPIC = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
OFFSET = "messaging.kafka.offset"
MESSAGE_ID = "messaging.message.id"
OPERATION, OPERATION_TYPE = "messaging.operation.name", "messaging.operation.type"
COUNT = "messaging.batch.message_count"
ERROR_TYPE, STATUS = "error.type", "http.response.status_code"
FLOW, NAME, ATTEMPT, FROM = "tl.flow", "tl.name", "tl.attempt", "tl.from"

MAX_LINKS = 128
MAX_TEXT = 1_000
"""Characters of one value that a span tells."""
TIMEOUT = 5
"""Seconds that the collector may take for a request, with all tries."""
PRODUCER, CONSUMER, CLIENT = SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT
Attributes = Mapping[str, Any]


class Tracer:
    """Makes spans and hands them to ``exporter``. ``ratio``: of the events that enter here, those
    that are sampled; what comes with a decision keeps it. ``dropped``: see BoundedExport. May be
    used by any number of threads."""

    def __init__(
        self, exporter: SpanExporter, *, ratio: float, dropped: Callable[[int], None]
    ) -> None:
        self._ratio = ratio
        self._export = BoundedExport(exporter, dropped)
        # Not that of OTEL_TRACES_SAMPLER: it is decided already, once, at the source.
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=_resource(),
            # An id is its producer's: of 1 MB each the queue would hold gigabytes.
            span_limits=SpanLimits(max_links=MAX_LINKS, max_attribute_length=MAX_TEXT),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._export)
        self._tracer = provider.get_tracer("trunkline")

    def samples(self) -> bool:
        """Whether an event that enters now is to be sampled."""
        return random.random() < self._ratio

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        parent: bytes = b"",
        links: Iterable[Span] = (),
        at: int | None = None,
    ) -> Span:
        """A span that has begun, ``at`` nanoseconds since the epoch or now; in the trace of
        ``parent``, a traceparent, or in one of its own."""
        return self._tracer.start_span(
            name,
            context=_remote(parent),
            kind=kind,
            attributes=attributes,
            links=[Link(span.get_span_context()) for span in links],
            start_time=at,
        )

    def start_linked(self, name: str, attributes: Attributes, to: bytes, at: int) -> Span:
        """A span of a trace of its own that points to the context of an event that is not
        sampled."""
        ids = ids_of(to)
        links = [] if ids is None else [Link(SpanContext(*ids, is_remote=True))]
        return self._tracer.start_span(
            name, context=Context(), kind=CLIENT, attributes=attributes, links=links, start_time=at
        )

    def close(self, seconds: float = CLOSE_WITHIN) -> None:
        """Send what is left, for so long at the most. Blocks."""
        self._export.close(seconds)


def _resource() -> Resource:
    """Whose spans these are; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    ours = Resource({"service.name": "trunkline", "service.instance.id": worker_name()})
    return ours.merge(OTELResourceDetector().detect())


def _remote(parent: bytes) -> Context:
    """A context whose span is that of a traceparent, in another process; an empty one for none."""
    ids = ids_of(parent)
    if ids is None:
        return Context()
    remote = SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(remote), Context())


def finish(span: Span, error: BaseException | None = None) -> None:
    """The span's work is done, or has failed."""
    if error is not None:
        # The message may quote what an event holds: it stands in the dead letter, not here.
        span.set_attribute(ERROR_TYPE, type(error).__name__)
        if (status := getattr(error, "status", None)) is not None:
            span.set_attribute(STATUS, status)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
    span.end()


def traceparent(span: Span) -> bytes:
    """The span's context as a header."""
    context = span.get_span_context()
    return b"00-%032x-%016x-01" % (context.trace_id, context.span_id)


def unsampled() -> str:
    """A context of its own of which nothing is recorded: its id is in logs all the same."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def otlp_exporter(address: str) -> SpanExporter:
    """What sends spans to a collector, by OTLP over HTTP. Headers and certificates are those of
    OpenTelemetry's variables, as OTEL_EXPORTER_OTLP_HEADERS."""
    # Each failed try is a line of its own there; ours says once that the collector is away.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return OTLPSpanExporter(endpoint=address.rstrip("/") + "/v1/traces", timeout=TIMEOUT)
