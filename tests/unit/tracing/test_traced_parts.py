"""Publisher, router and sink with traces, in memory: what is told, and what goes on as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes

from trunkline.connectors.base import Sink
from trunkline.connectors.contract import make_event
from trunkline.errors import PartialFailure, Rejected, Retryable, Unavailable
from trunkline.event import Event, Record, new_traceparent, under
from trunkline.headers import TL_ATTEMPT, TRACEPARENT
from trunkline.kafka import ProducerRecord
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.journal.doubt import NotAsked
from trunkline.streams.listener import Listeners
from trunkline.streams.publish.publisher import TopicMapping
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.tracing import tracer as names
from trunkline.streams.tracing.context import traceparent_of
from trunkline.streams.tracing.delivering import TracedSink
from trunkline.streams.tracing.publishing import TracedPublisher
from trunkline.streams.tracing.routing import TracedRouter
from trunkline.streams.tracing.tracer import MAX_LINKS, MAX_TEXT, Tracer, unsampled

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RETRY = "f.erp.retry.1s"


class World:
    """A tracer with ``ratio``, and what it has told."""

    def __init__(self, ratio: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = Tracer(self._exporter, ratio=ratio, dropped=lambda count: None)
        topic = TopicMapping("orders", lambda record: record.data, orjson.dumps)
        self.publisher = TracedPublisher(
            "/f/db", "f.db.dlq", [topic], tracer=self.tracer, flow="f", name="db"
        )
        route = CompiledRoute.of(
            lambda event: [event.data] * int(event.data["parts"]),
            name="to_erp",
            inbox="f.erp.inbox",
            dlq="f.erp.dlq",
            encode=orjson.dumps,
        )
        self.router = TracedRouter(
            {"orders": CompiledTopic(orjson.loads, [route])}, tracer=self.tracer, flow="f"
        )

    def told(self) -> list[ReadableSpan]:
        self.tracer.close(10)
        return list(self._exporter.get_finished_spans())

    def published(self, *records: Record) -> list[ProducerRecord]:
        result = self.publisher.publish(records)
        result.tell(Listeners())
        return result.records

    def routed(
        self, records: Iterable[ProducerRecord], *, commits: bool = True
    ) -> list[ProducerRecord]:
        messages = [
            StoredMessage("orders", 0, offset, record.key, record.value, record.headers)
            for offset, record in enumerate(records)
        ]
        done = asyncio.run(self.router.route(messages))
        if commits:
            self.router.committed()
        return done.records

    def delivered(
        self, events: Sequence[Event[Any]], raises: BaseException | None = None
    ) -> list[Event[Any]]:
        sink = Keeping(raises)
        traced = TracedSink(sink, self.tracer, "f", "erp")
        if raises is None:
            asyncio.run(traced.deliver(events))
        else:
            with pytest.raises(type(raises)):
                asyncio.run(traced.deliver(events))
        return sink.events


class Keeping(Sink[Any]):
    """Keeps what it gets, and raises what it is given."""

    type = dict
    max_batch = 1000

    def __init__(self, raises: BaseException | None) -> None:
        self.events: list[Event[Any]] = []
        self._raises = raises

    async def deliver(self, events: Sequence[Event[Any]]) -> None:
        self.events += events
        if self._raises is not None:
            raise self._raises


def record(key: str, parts: int = 1, trace: str = "") -> Record:
    return Record(key=key, data={"parts": parts}, traceparent=trace)


def event(trace: str, failures: int = 0) -> Event[Any]:
    made = make_event("k", {"a": 1}, topic=RETRY if failures else "f.erp.inbox")
    made = under(made, trace.encode())
    made.headers = [*made.headers, (TL_ATTEMPT, b"%d" % failures)]
    return made


def hexed(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


def test_one_trace_from_source_to_answer_and_the_retry_beside_the_first_attempt() -> None:
    world = World()
    (inbox,) = world.routed(world.published(record("k")))
    trace = traceparent_of(inbox.headers).decode()
    (sent,) = world.delivered([event(trace)], Retryable("later", status=500))
    (again,) = world.delivered([event(trace, failures=1)])
    published, routed, first, second = world.told()
    assert len({span.context.trace_id for span in (published, routed, first, second)}) == 1
    assert published.parent is None
    assert routed.parent is not None
    assert routed.parent.span_id == published.context.span_id
    assert first.parent == second.parent
    assert first.parent is not None
    assert first.parent.span_id == routed.context.span_id
    assert [span.attributes["tl.attempt"] for span in (first, second)] == [1, 2]  # type: ignore[index]
    assert (sent.traceparent[36:52], again.traceparent[36:52]) == (hexed(first), hexed(second))
    assert first.attributes is not None
    assert (first.attributes["error.type"], first.attributes["http.response.status_code"]) == (
        "Retryable",
        500,
    )
    assert second.status.is_unset


def test_a_thousand_of_a_thousand_each_with_one_header_whatever_it_becomes() -> None:
    world = World()
    records = world.routed(world.published(*(record(f"k{n}", parts=n % 3) for n in range(1_000))))
    assert len(records) == sum(n % 3 for n in range(1_000))
    for made in records:
        assert [name for name, _ in made.headers].count(TRACEPARENT) == 1
    told = world.told()
    parents = {hexed(span): span for span in told if span.name == "publish f.db"}
    routed = [span for span in told if span.name == "route f"]
    assert (len(parents), len(routed)) == (1_000, len(records))
    assert {span.parent.span_id for span in routed if span.parent} <= {
        span.context.span_id for span in parents.values()
    }
    assert {traceparent_of(made.headers)[36:52].decode() for made in records} == {
        *map(hexed, routed)
    }


def test_it_is_decided_once_and_whoever_sent_an_event_has_decided() -> None:
    world = World(ratio=0)
    not_wanted = GIVEN[:-2] + "00"
    made = world.published(record("a"), record("b", trace=GIVEN), record("c", trace=not_wanted))
    own, given, refused = (traceparent_of(one.headers).decode() for one in made)
    assert own.endswith("-00")
    assert given[:36] == GIVEN[:36]
    assert given != GIVEN
    assert refused == not_wanted
    handed = world.routed(made)
    assert traceparent_of(handed[0].headers).decode() == own
    assert traceparent_of(handed[2].headers).decode() == not_wanted
    assert [span.name for span in world.told()] == ["publish f.db", "route f"]


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_so_many_are_sampled_as_the_ratio_says(ratio: float) -> None:
    made = World(ratio).published(*(record(f"k{n}") for n in range(2_000)))
    found = sum(traceparent_of(one.headers).endswith(b"-01") for one in made)
    assert abs(found - 2_000 * ratio) < 200


def test_what_is_not_in_kafka_is_not_told_and_what_is_routed_again_is_told_once() -> None:
    world = World()
    world.publisher.publish([record("aborted")])  # and nobody tells that it is there
    made = world.published(record("k"))
    world.routed(made, commits=False)
    world.routed(made)
    assert sorted(span.name for span in world.told()) == ["publish f.db", "route f"]


def test_after_a_rebalance_others_route_what_was_not_committed() -> None:
    world = World()
    world.routed(world.published(record("k")), commits=False)
    world.router.forget()
    world.router.committed()
    assert [span.name for span in world.told()] == ["publish f.db"]


def test_a_request_of_many_links_to_128_at_the_most() -> None:
    world = World()
    sent = world.delivered([event(new_traceparent()) for _ in range(200)])
    assert len({one.traceparent for one in sent}) == 200
    *attempts, whole = world.told()
    assert (len(attempts), len(whole.links)) == (200, MAX_LINKS)
    assert {link.context.span_id for link in whole.links} <= {a.context.span_id for a in attempts}
    assert whole.parent is None
    assert whole.attributes is not None
    assert whole.attributes["messaging.batch.message_count"] == 200


def test_of_an_id_only_so_much_is_told() -> None:
    world = World()
    world.published(Record(key="7", data={"parts": 1}, id="x" * 100_000))
    (span,) = world.told()
    assert span.attributes is not None
    assert span.attributes[names.MESSAGE_ID] == "x" * MAX_TEXT


def test_of_a_batch_each_has_its_own_answer() -> None:
    world = World()
    events = [event(new_traceparent()), event(unsampled()), event(new_traceparent())]
    sent = world.delivered(events, PartialFailure({2: Rejected("no", status=422)}))
    assert sent[1].traceparent == events[1].traceparent
    good, bad, whole = world.told()
    assert (good.status.is_unset, bad.status.is_unset, whole.status.is_unset) == (
        True,
        False,
        False,
    )


def test_the_second_failure_of_an_event_is_told_though_it_is_not_sampled() -> None:
    world = World()
    trace = unsampled()
    for failures in range(4):
        (sent,) = world.delivered([event(trace, failures)], Unavailable("down", status=503))
        assert sent.traceparent == trace
    (told,) = world.told()
    assert told.parent is None
    assert f"{told.context.trace_id:032x}" != trace[3:35]
    assert [f"{link.context.span_id:016x}" for link in told.links] == [trace[36:52]]
    assert told.attributes is not None
    assert told.attributes["tl.attempt"] == 2


def test_an_event_without_a_context_fails_as_any_other() -> None:
    world = World()
    bare = event("x", failures=1)
    world.delivered([bare], Unavailable("down"))
    (told,) = world.told()
    assert told.links == ()


@pytest.mark.parametrize("ends", [NotAsked(), asyncio.CancelledError()])
def test_what_is_no_failure_of_the_event_or_is_cancelled(ends: BaseException) -> None:
    world = World()
    world.delivered([event(GIVEN, failures=1)], ends)
    (told,) = world.told()
    assert told.status.is_unset is isinstance(ends, NotAsked)


def test_names_are_those_of_the_semantic_conventions() -> None:
    of = messaging_attributes
    assert (names.SYSTEM, names.TOPIC, names.PARTITION) == (
        of.MESSAGING_SYSTEM,
        of.MESSAGING_DESTINATION_NAME,
        of.MESSAGING_DESTINATION_PARTITION_ID,
    )
    assert (names.OFFSET, names.MESSAGE_ID, names.COUNT) == (
        of.MESSAGING_KAFKA_OFFSET,
        of.MESSAGING_MESSAGE_ID,
        of.MESSAGING_BATCH_MESSAGE_COUNT,
    )
    assert (names.OPERATION, names.OPERATION_TYPE) == (
        of.MESSAGING_OPERATION_NAME,
        of.MESSAGING_OPERATION_TYPE,
    )
    assert names.ERROR_TYPE == error_attributes.ERROR_TYPE
    assert names.STATUS == http_attributes.HTTP_RESPONSE_STATUS_CODE
    assert of.MessagingSystemValues.KAFKA.value == names.KAFKA


def test_neither_keys_nor_values_are_told() -> None:
    world = World()
    world.routed(world.published(record("key-of-a-person")))
    said = "".join(span.to_json() for span in world.told())
    assert "key-of-a-person" not in said
