"""A Publisher that begins the trace of each sampled event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from opentelemetry.trace import Span

from trunkline.event import Record
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.publish.publisher import Publisher, PublishingResult
from trunkline.streams.tracing import tracer as names
from trunkline.streams.tracing.context import is_sampled
from trunkline.streams.tracing.tracer import PRODUCER, Tracer, finish, traceparent, unsampled


@dataclass(slots=True)
class TracedResult(PublishingResult):
    """The spans end once their events are in Kafka. Those of a transaction that was aborted never
    end, and nobody hears of them: the records come again."""

    spans: list[Span] = field(default_factory=list)

    def tell(self, listener: OutcomeListener) -> None:
        """See ``PublishingResult.tell``."""
        PublishingResult.tell(self, listener)
        for span in self.spans:
            finish(span)


class TracedPublisher(Publisher):
    """Decides once whether an event is sampled, unless whoever sent it has decided that.

    One span a record, however many canonical events it becomes.
    """

    def __init__(self, *of_publisher: Any, tracer: Tracer, flow: str, name: str) -> None:
        super().__init__(*of_publisher)
        self._tracer = tracer
        self._attributes = {
            names.SYSTEM: names.KAFKA,
            names.OPERATION: "publish",
            names.OPERATION_TYPE: "send",
            names.FLOW: flow,
            names.NAME: name,
        }
        self._named = f"publish {flow}.{name}"

    def publish(self, records: Sequence[Record], *, refuse: bool = False) -> PublishingResult:
        """See ``Publisher.publish``."""
        spans = []
        for record in records:
            given = record.traceparent.encode()
            if given and not is_sampled(given):
                continue
            if not given and not self._tracer.samples():
                record.traceparent = unsampled()
                continue
            attributes = {**self._attributes, names.MESSAGE_ID: record.id}
            span = self._tracer.start(self._named, PRODUCER, attributes, parent=given)
            record.traceparent = traceparent(span).decode()
            spans.append(span)
        done = super().publish(records, refuse=refuse)
        # By name: what else a result has, this one has, too.
        of_result = {each.name: getattr(done, each.name) for each in fields(done)}
        return TracedResult(**of_result, spans=spans)
