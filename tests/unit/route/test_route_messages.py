"""What a route may return: data, messages with keys and headers of their own, and deletes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from delivery_kit import Env, Erp
from trunkline import ConfigurationError, Delete, Event, Flow, Message
from trunkline.kafka.messages import StoredMessage
from trunkline.schemas.commerce import Order
from trunkline.streams.check.flows import check
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Router, RoutingResult
from trunkline.testing import FlowTest


def routed(
    result: Any, *, value: bytes | None = b"1", change: str = "", waits: bool = False, **more: Any
) -> RoutingResult:
    """What becomes of an event with the key ``k`` and a route that returns ``result``."""

    def route(event: Event[Any]) -> Any:
        return result(event) if callable(result) else result

    async def awaited(event: Event[Any]) -> Any:
        return route(event)

    compiled = CompiledRoute.of(
        awaited if waits else route,
        name="r",
        inbox="f.erp.inbox",
        dlq="f.erp.dlq",
        encode=lambda data: json.dumps(data).encode(),
        **{"accepts_deletes": True, **more},
    )
    headers = [("ce_id", b"7"), ("tl_event_key", b"of another hop")]
    headers += [("tl_change", change.encode())] if change else []
    topic = CompiledTopic(json.loads, [compiled])
    message = StoredMessage("orders", 0, 4, b"k", value, headers)
    return asyncio.run(Router({"orders": topic}).route([message]))


def sent(result: Any, **more: Any) -> list[tuple[bytes | None, bytes | None]]:
    """Key and value of each message; nothing may have died."""
    done = routed(result, **more)
    assert done.dead == 0, done.dead_letters
    assert done.routed == len(done.records)
    return [(record.key, record.value) for record in done.records]


def headers_of(result: Any, **more: Any) -> dict[str, bytes]:
    (record,) = routed(result, **more).records
    named = dict(record.headers)
    assert len(named) == len(record.headers), "a header stands twice"
    return named


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (2, [(b"k", b"2")]),
        (Message(2), [(b"k", b"2")]),
        (Message(2, key="é"), [("é".encode(), b"2")]),
        (Delete(), [(b"k", None)]),
        (Delete("x"), [(b"x", None)]),
        ([Message(1, "a"), 2, Delete("b")], [(b"a", b"1"), (b"k", b"2"), (b"b", None)]),
        ((), []),
        (None, []),
    ],
)
def test_what_is_returned_is_sent(result: Any, expected: list[Any], waits: bool) -> None:
    assert sent(result, waits=waits) == expected


@pytest.mark.parametrize("nothing", [None, [], ()])
@pytest.mark.parametrize("waits", [False, True])
def test_otherwise_a_delete_takes_back_what_passes_no_more(nothing: Any, waits: bool) -> None:
    assert sent(nothing, otherwise_delete=True, waits=waits) == [(b"k", None)]
    assert headers_of(nothing, otherwise_delete=True)["tl_change"] == b"delete"
    assert sent(2, otherwise_delete=True, waits=waits) == [(b"k", b"2")]


def test_a_delete_is_forwarded_and_calls_no_route() -> None:
    assert sent(1 // 1, value=None, change="delete") == [(b"k", None)]
    assert sent(lambda event: pytest.fail("called"), value=None, change="delete") == [(b"k", None)]


def test_a_delete_that_no_sink_takes_is_counted() -> None:
    done = routed(1, value=None, change="delete", accepts_deletes=False)
    assert (done.records, done.dropped_deletes) == ([], {"f.erp.inbox": 1})
    total = RoutingResult()
    total.add(done)
    total.add(done)
    assert total.dropped_deletes == {"f.erp.inbox": 2}


@pytest.mark.parametrize("change", ["delete", ""])
def test_a_route_may_ask_for_deletes(change: str) -> None:
    """A tombstone of a producer that knows no ``tl_change`` is a delete, too."""

    def gone(event: Event[Any]) -> Any:
        return Delete(f"pick-{event.key}") if event.change == "delete" else 1

    assert sent(gone, value=None, change=change, deletes=True) == [(b"pick-k", None)]
    assert sent(gone, deletes=True) == [(b"k", b"1")]


def test_data_made_of_a_delete_are_written_and_not_deleted() -> None:
    named = headers_of({"state": "gone"}, value=None, change="delete", deletes=True)
    assert named["tl_change"] == b"update"


def test_a_truncate_has_no_entity_for_any_route() -> None:
    done = routed(1, value=None, change="truncate", deletes=True)
    assert done.dead == len(done.records) == 1


def test_the_events_key_is_told_where_the_message_has_another() -> None:
    assert headers_of(Message(1, key="other"))["tl_event_key"] == b"k"
    assert headers_of(Delete("other"))["tl_event_key"] == b"k"
    for own in (1, Message(1), Message(1, key="k"), Delete()):
        assert "tl_event_key" not in headers_of(own)


def test_headers_of_its_own_replace_the_events() -> None:
    named = headers_of(Message(1, headers={"priority": "high"}))
    assert named["priority"] == b"high"
    assert named["ce_id"] == b"7"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Message(1, key=""), "not empty"),
        (Message(1, key=7), "must be a text"),  # type: ignore[arg-type]
        (Delete(b"x"), "must be a text"),  # type: ignore[arg-type]
        (Message(1, headers={"tl_from": "x"}), "is the engine's"),
        (Message(1, headers={"ce_id": "x"}), "is the engine's"),
        (Message(1, headers={"n": 1}), "must be a text"),  # type: ignore[dict-item]
        (Message(1, key="\ud800"), "surrogates"),
    ],
)
def test_what_cannot_be_sent_is_a_dead_letter_and_all_or_nothing(wrong: Any, why: str) -> None:
    for result in (wrong, [1, wrong]):
        done = routed(result)
        assert [record.topic for record in done.records] == ["f.erp.dlq"]
        (dead,) = done.dead_letters.values()
        assert why in str(dead.error)


def test_a_delete_for_a_sink_that_takes_none_is_a_dead_letter() -> None:
    (dead,) = routed(lambda event: Delete(), accepts_deletes=False).dead_letters.values()
    assert "takes no deletes" in str(dead.error)


class Appending(Erp):
    accepts_deletes = False


def flow_to(sink: type[Erp], **route: Any) -> Flow[Env]:
    flow = Flow("picks", Env)
    orders = flow.existing_topic("orders", Order)

    @flow.destination
    def erp(env: Env) -> Erp:
        return sink(1, 1)

    @flow.route(orders, to=erp, **route)
    def paid(order: Event[Order]) -> Message[Order] | Delete | None:
        if order.change == "delete":
            return Delete(f"pick-{order.key}")
        keep = order.data["status"] == "paid"
        return Message(order.data, key=f"pick-{order.key}") if keep else Delete(f"pick-{order.key}")

    return flow


def test_a_flow_takes_back_what_it_sent() -> None:
    flow = flow_to(Erp, deletes=True)
    assert check(flow) == []
    with FlowTest(flow) as test:
        orders, erp = flow.topics[0], test.destination(flow.destinations[0])
        for number, status in enumerate(("paid", "cancelled", "paid")):
            test.publish(orders, Order(id="7", status=status, total_cents=number))
        assert [(a.key, a.change) for a in erp.delivered] == [
            ("pick-7", "create"),
            ("pick-7", "delete"),
            ("pick-7", "create"),
        ]
        test.publish(orders, None, key="7")
        assert erp.state == {}


def test_a_sink_that_takes_no_deletes_is_refused_at_the_start() -> None:
    flow = flow_to(Appending)
    with pytest.raises(ConfigurationError, match=r"route paid: sends deletes, but.*takes none"):
        FlowTest(flow)


@pytest.mark.parametrize(
    ("wrong", "why"), [({"deletes": 1}, "True or False"), ({"otherwise": "drop"}, "or nothing")]
)
def test_wrong_arguments_are_told(wrong: dict[str, Any], why: str) -> None:
    assert why in "\n".join(map(str, check(flow_to(Erp, **wrong))))


def test_an_event_never_becomes_a_call() -> None:
    """Who writes into a canonical topic could have an operation run that nobody allows them."""
    event = StoredMessage("orders", 0, 4, b"k", b"1", [("tl_operation", b"refund")])
    compiled = CompiledRoute.of(
        lambda event: event.data,
        name="r",
        inbox="f.erp.inbox",
        dlq="f.erp.dlq",
        encode=lambda data: json.dumps(data).encode(),
        accepts_deletes=True,
    )
    topic = CompiledTopic(json.loads, [compiled])
    (record,) = asyncio.run(Router({"orders": topic}).route([event])).records
    assert "tl_operation" not in dict(record.headers)
