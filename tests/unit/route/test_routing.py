"""Routing without a broker: which records a batch becomes, in which order, and what dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from trunkline import Event
from trunkline.errors import SerializationError
from trunkline.kafka import MAX_VALUE
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Router, RoutingResult


def raw(
    value: bytes | None = b'{"n": 1}',
    key: bytes | None = b"k",
    at: int = 0,
    *,
    type: str = "order.paid",
    change: str = "create",
    more: Sequence[tuple[str, Any]] = (),
) -> StoredMessage:
    """A message as Kafka's client gives it."""
    named = [
        ("ce_id", f"id-{at}".encode()),
        ("ce_type", type.encode()),
        ("tl_change", change.encode()),
    ]
    return StoredMessage("orders", 3, at, key, value, [*named, *more])


Made = Any
RouteFunction = Callable[[Event[Any]], Any]


def decode(value: bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise SerializationError("not JSON") from error


def encode(data: Any) -> bytes:
    if not isinstance(data, dict):
        raise SerializationError(f"a dict is wanted, not {data!r}")
    return b"encoded:" + json.dumps(data).encode()


def compiled(function: RouteFunction, to: str = "erp", **more: Any) -> CompiledRoute:
    known = {"encode": encode, "name": "all"}
    return CompiledRoute.of(function, inbox=f"{to}.inbox", dlq=f"{to}.dlq", **known | more)


def routed(
    messages: Sequence[StoredMessage],
    *routes: CompiledRoute,
    decode: Callable[[bytes], Any] = decode,
) -> RoutingResult:
    router = Router({"orders": CompiledTopic(decode, list(routes))}, flow_version="v1")
    return asyncio.run(router.route(messages))


def headers(record: Any) -> dict[str, bytes]:
    named = dict(record[3])
    assert len(named) == len(record[3]), "a header stands twice"
    return named


def places(done: RoutingResult) -> list[tuple[str, str]]:
    """Each record's topic and where it came from: partition and offset."""
    named = [(record[0], headers(record)) for record in done.records]
    return [(topic, (h.get("tl_from") or h["tl_dead_from"]).decode()) for topic, h in named]


def test_a_message_goes_to_the_inbox_with_its_key_and_attributes() -> None:
    done = routed([raw(at=7)], compiled(lambda event: {"n": event.data["n"] + 1}))
    ((topic, key, value, _),) = done.records
    assert (topic, key, value) == ("erp.inbox", b"k", b'encoded:{"n": 2}')
    named = headers(done.records[0])
    assert (named["ce_id"], named["ce_type"]) == (b"id-7", b"order.paid")
    assert (named["tl_from"], named["tl_origin"]) == (b"orders/3/7/all/1", b"original")
    assert (done.routed, done.dead) == (1, 0)


def test_delivery_headers_of_an_earlier_hop_are_replaced() -> None:
    earlier = [("tl_from", b"elsewhere/0/0/all/1"), ("tl_origin", b"replay"), ("mine", b"kept")]
    (record,) = routed([raw(more=earlier)], compiled(lambda event: event.data)).records
    named = headers(record)
    assert (named["tl_from"], named["tl_origin"]) == (b"orders/3/0/all/1", b"original")
    assert named["mine"] == b"kept"


def test_what_hands_on_the_data_itself_forwards_the_bytes() -> None:
    odd = b'{ "n" :   1 }'
    (record,) = routed([raw(odd)], compiled(lambda event: event.data)).records
    assert record[2] == odd
    (record,) = routed([raw(odd)], compiled(lambda event: {**event.data})).records
    assert record[2] == b'encoded:{"n": 1}'


def test_a_value_is_decoded_once_for_all_routes_and_not_at_all_for_none() -> None:
    calls: list[bytes] = []

    def counting(value: bytes) -> Any:
        calls.append(value)
        return decode(value)

    readers = [compiled(lambda event: event.data, to) for to in ("a", "b")]
    routed([raw()], *readers, decode=counting)
    assert len(calls) == 1
    ignorant = compiled(lambda event: event.data, only=("order.cancelled",))
    assert routed([raw()], ignorant, decode=counting).records == []
    assert len(calls) == 1


def test_none_goes_nowhere() -> None:
    assert routed([raw()], compiled(lambda event: None)) == RoutingResult()


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_messages_are_numbered_and_have_the_events_id(kind: Any) -> None:
    done = routed([raw(at=7)], compiled(lambda event: kind([{"n": n} for n in (1, 2, 3)])))
    assert [headers(record)["ce_id"] for record in done.records] == [b"id-7"] * 3
    assert [place for _, place in places(done)] == [f"orders/3/7/all/{part}" for part in (1, 2, 3)]
    assert done.routed == 3


def test_an_empty_list_goes_nowhere() -> None:
    assert routed([raw()], compiled(lambda event: [])).records == []


def test_of_several_messages_all_or_none() -> None:
    done = routed([raw()], compiled(lambda event: [{"n": 1}, "no dict"]))
    assert [record[0] for record in done.records] == ["erp.dlq"]
    assert (done.routed, done.dead) == (0, 1)


@pytest.mark.parametrize(
    ("only", "listens"),
    [
        ((), True),
        (("order.paid",), True),
        (("order.*",), True),
        (("refund.*", "order.paid"), True),
        (("order",), False),
        (("ORDER.PAID",), False),
        (("refund.*",), False),
    ],
)
def test_only_decides_on_the_type(only: tuple[str, ...], listens: bool) -> None:
    done = routed([raw(), raw(at=1)], compiled(lambda event: event.data, only=only))
    assert len(done.records) == (2 if listens else 0)


def test_records_are_in_the_order_of_events_whichever_route_is_async() -> None:
    """Async results come late and in any order; their records stand in their places."""

    async def slow(event: Event[Any]) -> Any:
        await asyncio.sleep(0.01 if event.offset == 0 else 0)
        if event.offset == 2:
            raise ValueError("this one dies")
        return [event.data] * event.offset if event.offset else event.data

    quick = compiled(lambda event: event.data, "quick")
    done = routed([raw(at=n) for n in range(4)], quick, compiled(slow, "slow"), quick)
    quick_, slow_ = "quick.inbox", "slow.inbox"
    assert places(done) == [
        (quick_, "orders/3/0/all/1"),
        (slow_, "orders/3/0/all/1"),
        (quick_, "orders/3/0/all/1"),
        (quick_, "orders/3/1/all/1"),
        (slow_, "orders/3/1/all/1"),
        (quick_, "orders/3/1/all/1"),
        (quick_, "orders/3/2/all/1"),
        ("slow.dlq", "orders/3/2"),
        (quick_, "orders/3/2/all/1"),
        (quick_, "orders/3/3/all/1"),
        *[(slow_, f"orders/3/3/all/{part}") for part in (1, 2, 3)],
        (quick_, "orders/3/3/all/1"),
    ]
    assert (done.routed, done.dead) == (13, 1)


def test_async_routes_of_a_batch_run_at_the_same_time() -> None:
    """Each waits for all the others: one after the other they would wait for ever."""

    async def run() -> RoutingResult:
        everyone = asyncio.Barrier(5)

        async def meet(event: Event[Any]) -> Any:
            await asyncio.wait_for(everyone.wait(), 5)
            return event.data

        router = Router({"orders": CompiledTopic(decode, [compiled(meet)])})
        messages: Any = [raw(at=n) for n in range(5)]
        return await router.route(messages)

    assert asyncio.run(run()).routed == 5


async def later(event: Event[Any]) -> Any:
    raise ZeroDivisionError("in the route")


@pytest.mark.parametrize("function", [lambda event: 1 / 0, later], ids=["sync", "async"])
def test_what_a_route_raises_ends_in_its_dlq_and_the_others_go_on(function: Any) -> None:
    poison = raw(b'{"n": 1}', at=1)
    done = routed([raw(), poison], compiled(function), compiled(lambda event: event.data, "crm"))
    assert [record[0] for record in done.records] == ["erp.dlq", "crm.inbox"] * 2
    topic, key, value, _ = done.records[2]
    assert (topic, key, value) == ("erp.dlq", b"k", poison.value())
    named = headers(done.records[2])
    assert named["tl_dead_from"] == b"orders/3/1"
    assert named["tl_stage"] == b"route"
    assert named["tl_error_class"] == b"ZeroDivisionError"
    assert b"ZeroDivisionError" in named["tl_traceback"]
    assert named["tl_flow_version"] == b"v1"
    ((dlq, cause), deaths), *others = done.dead_letters.items()
    assert (dlq, cause, others) == ("erp.dlq", ZeroDivisionError, [])
    assert (deaths.count, deaths.example.id) == (2, "id-0")


def test_what_cannot_be_read_dies_only_where_it_is_read() -> None:
    done = routed(
        [raw(b"\x00 no JSON")],
        compiled(lambda event: event.data, "reading"),
        compiled(lambda event: {"n": event.offset}, "headers"),
    )
    assert [record[0] for record in done.records] == ["reading.dlq", "headers.inbox"]


@pytest.mark.parametrize(
    ("key", "reason"), [(None, b"no key"), (b"", b"no key"), (b"\xff\xfe", b"not UTF-8")]
)
def test_an_event_without_a_proper_key_dies_once_a_dlq(key: bytes | None, reason: bytes) -> None:
    twice = [compiled(lambda event: event.data, "erp"), compiled(lambda event: event.data, "erp")]
    done = routed([raw(key=key)], *twice, compiled(lambda event: event.data, "crm"))
    assert [record[:3] for record in done.records] == [
        ("erp.dlq", key, b'{"n": 1}'),
        ("crm.dlq", key, b'{"n": 1}'),
    ]
    assert reason in headers(done.records[0])["tl_error"]
    assert done.dead == 2


def test_a_message_that_is_too_large_dies() -> None:
    def huge(data: Any) -> bytes:
        return bytes(MAX_VALUE + 1)

    done = routed([raw()], compiled(lambda event: {}, encode=huge))
    assert done.records[0][0] == "erp.dlq"
    assert headers(done.records[0])["tl_error_class"] == b"Rejected"


def test_deletes_go_by_their_key_to_who_accepts_them_and_call_no_route() -> None:
    def never(event: Event[Any]) -> Any:
        raise AssertionError("called for a delete")

    accepting = compiled(never, "accepting", accepts_deletes=True)
    deaf = compiled(never, "deaf", accepts_deletes=True, only=("refund.*",))
    done = routed([raw(None, change="delete")], accepting, compiled(never, "other"), deaf)
    ((topic, key, value, _),) = done.records
    assert (topic, key, value) == ("accepting.inbox", b"k", None)
    assert headers(done.records[0])["tl_change"] == b"delete"
    assert (done.routed, done.dead) == (1, 0)


def test_a_truncate_dies_everywhere_for_a_person_to_see() -> None:
    routes = [compiled(lambda event: None, to, accepts_deletes=to == "a") for to in ("a", "b")]
    done = routed([raw(None, change="truncate")], *routes)
    assert [record[0] for record in done.records] == ["a.dlq", "b.dlq"]
    assert b"empty the destination by hand" in headers(done.records[0])["tl_error"]


def test_a_header_without_a_value_kills_nobody() -> None:
    """Kafka allows it, and other programs write it."""
    nulls = [("ce_type", None), ("tl_change", None)]
    route = compiled(lambda event: event.data, only=("order.paid",), accepts_deletes=True)
    assert routed([raw(more=nulls)], route).records == []
    assert routed([raw(None, more=nulls)], compiled(lambda event: None)).records == []
