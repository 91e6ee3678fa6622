"""A destination's sink with operations: calls run, events pass, and what fails is told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from trunkline import Call, HttpRequest, Params
from trunkline.connectors.base import HttpReply, Sink
from trunkline.errors import DeliveryError, Rejected, Retryable, Unavailable
from trunkline.event import Event
from trunkline.schemas.commerce import Order, PickList
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.operation import Operation
from trunkline.streams.journal.doubt import InDoubt, NotAsked, leaves_doubt
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.journal.record import moment_of, parsed_call
from trunkline.streams.operations.sink import OperationSink

NOW = 1_800_000_000.0


class Erp(Sink[Any]):
    """Records what it is asked for; ``fails`` is raised."""

    type = dict
    takes_calls = HttpRequest
    concurrency = 7

    def __init__(self) -> None:
        self.delivered: list[Event[Any]] = []
        self.calls: list[tuple[HttpRequest, str, str]] = []
        self.fails: DeliveryError | None = None

    async def deliver(self, events: Sequence[Event[Any]]) -> None:
        self.delivered += events

    async def call(self, request: HttpRequest, id: str, traceparent: str = "") -> HttpReply:
        self.calls.append((request, id, traceparent))
        if self.fails is not None:
            raise self.fails
        return HttpReply(200, b"{}")


def operation(function: Callable[[Call[Any]], HttpRequest]) -> Operation[Any]:
    flow = Flow("shop", Params)

    @flow.destination
    def erp(env: Params) -> Erp:
        return Erp()

    return flow.operation(to=erp, verb="update", resource="orders")(function)


def correct(call: Call[Any]) -> HttpRequest:
    return HttpRequest("PATCH", f"/{call.key}", json=[call.data, call.client, call.attempt])


def broken(call: Call[Any]) -> HttpRequest:
    raise KeyError(call.id)


def wrong(call: Call[Any]) -> Any:
    return "PATCH"


class World:
    def __init__(self) -> None:
        self.erp = Erp()
        self.journal = CallJournal("shop.erp.calls", lambda: NOW)
        named = {f.__name__: operation(f) for f in (correct, broken, wrong)}
        self.sink = OperationSink(self.erp, named, self.journal, lambda: NOW)

    def deliver(self, event: Event[Any]) -> list[str]:
        """The states that are written of it."""
        with suppress(NotAsked):
            asyncio.run(self.sink.deliver([event]))
        records = self.journal.finished([event])
        return [found[0].state for r in records if (found := parsed_call(r.key, r.value))]


def call(name: str = "correct", **headers: str) -> Event[Any]:
    named = {
        "ce_id": "c1",
        "tl_operation": name,
        "tl_client": "crm",
        "tl_expires_at": moment_of(NOW + 60),
        "traceparent": "00-aa-bb-01",
        **headers,
    }
    encoded = [(header, text.encode()) for header, text in named.items()]
    return Event(key="o-7", value=b"v", headers=encoded, decode=lambda v: v.decode(), topic="t")


def test_a_call_becomes_the_request_that_the_flow_makes_of_it() -> None:
    world = World()
    assert world.deliver(call()) == ["succeeded"]
    request = HttpRequest("PATCH", "/o-7", json=["v", "crm", 1])
    assert world.erp.calls == [(request, "c1", "00-aa-bb-01")]
    assert world.erp.delivered == []


def test_an_attempt_knows_its_number() -> None:
    world = World()
    world.deliver(call(tl_attempt="2"))
    assert world.erp.calls[0][0].json == ["v", "crm", 3]


def test_an_event_passes_and_nothing_is_written_of_it() -> None:
    world, event = World(), Event(key="k", value=b"", headers=[], decode=bytes, topic="t")
    assert world.deliver(event) == []
    assert world.erp.delivered == [event]


def test_a_repeat_is_not_run_and_leaves_the_answer_as_it_is() -> None:
    world = World()
    world.deliver(call())
    assert world.deliver(call()) == []
    assert len(world.erp.calls) == 1


def test_a_failed_attempt_is_no_end() -> None:
    world = World()
    world.erp.fails = Retryable("500", status=500)
    with pytest.raises(Retryable):
        world.deliver(call())
    world.erp.fails = None
    assert world.deliver(call(tl_attempt="1")) == ["succeeded"]


@pytest.mark.parametrize(("after", "states"), [(-1.0, ["expired"]), (0.0, ["expired"])])
def test_a_call_that_comes_too_late_is_not_run(after: float, states: list[str]) -> None:
    world = World()
    assert world.deliver(call(tl_expires_at=moment_of(NOW + after))) == states
    assert world.erp.calls == []


def test_a_call_that_was_attempted_in_time_goes_its_retries() -> None:
    world = World()
    assert world.deliver(call(tl_expires_at=moment_of(NOW - 1), tl_attempt="1")) == ["succeeded"]


def test_an_operator_may_send_it_again_however_late() -> None:
    world = World()
    late = call(tl_expires_at=moment_of(NOW - 99), tl_origin="redrive", tl_replay_id="r")
    assert world.deliver(late) == ["succeeded"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gone", "no operation 'gone' any more"),
        ("broken", "broken failed: KeyError"),
        ("wrong", "returned str"),
    ],
)
def test_what_no_attempt_would_mend_is_rejected_and_no_refusal(name: str, says: str) -> None:
    world = World()
    with pytest.raises(Rejected, match=says) as raised:
        world.deliver(call(name))
    assert not world.journal.is_refusal(call(name), raised.value)
    assert world.erp.calls == []


def test_it_says_of_itself_what_its_sink_says() -> None:
    sink = World().sink
    assert (sink.type, sink.concurrency, sink.max_batch) == (dict, 7, 1)
    assert not sink.accepts_deletes


class Told:
    """A committer that has written whatever it is given."""

    async def written(self, event: Event[Any], record: Any) -> None: ...

    def tell(self, inbox: int, record: Any) -> None: ...


def once(**options: Any) -> World:
    """A world whose operation must not be run twice."""
    world, flow = World(), Flow("shop", Params)

    @flow.destination
    def erp(env: Params) -> Erp:
        return Erp()

    def correct(call: Call[Order]) -> HttpRequest:
        return HttpRequest("PATCH", "/o")

    def seen(call: Call[PickList]) -> HttpRequest:
        return HttpRequest("GET", f"/{call.data['order_id']}/{call.id}")

    flow.operation(to=erp, verb="get", resource="orders")(seen)
    declared = flow.operation(to=erp, verb="update", resource="orders", **options)(correct)
    world.journal.writer = Told()
    world.sink = OperationSink(world.erp, {"correct": declared}, world.journal, lambda: NOW)
    return world


def pick() -> Event[Any]:
    given = {"order_id": "o-7", "more": 1}
    return Event(key="o-7", value=b"v", headers=call().headers, decode=lambda _: given, topic="t")


def down() -> Unavailable:
    return Unavailable("the connection broke")


def test_an_outage_is_told_as_one_and_the_next_attempt_is_in_doubt_and_asks_nobody() -> None:
    world = once(doubt="ask")
    world.erp.fails = down()
    with pytest.raises(Unavailable):
        world.deliver(call())
    world.erp.fails = None
    with pytest.raises(InDoubt) as raised:
        world.deliver(call())
    assert not raised.value.asked
    assert len(world.erp.calls) == 1


def test_another_failure_that_leaves_doubt_is_in_doubt_at_once() -> None:
    world = once(doubt="ask")
    world.erp.fails = Retryable("500", status=500)
    with pytest.raises(InDoubt) as raised:
        world.deliver(call())
    assert raised.value.asked


def test_what_was_surely_not_done_is_sent_again() -> None:
    world = once(doubt="ask")
    world.erp.fails = down()
    world.erp.fails.unsent = True
    with pytest.raises(Unavailable):
        world.deliver(call())
    world.erp.fails = None
    assert world.deliver(call()) == ["succeeded"]


def test_a_query_is_asked_with_the_fields_that_it_takes() -> None:
    world = once(doubt="check:seen")
    world.erp.fails = down()
    with pytest.raises(Unavailable):
        world.deliver(pick())
    world.erp.fails = None
    assert world.deliver(pick()) == ["succeeded"]
    assert world.erp.calls[-1][:2] == (HttpRequest("GET", "/o-7/c1"), "c1/check")


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (Rejected("no", status=404), Rejected),
        (Rejected("no", status=403), InDoubt),
        (Retryable("later", status=500), Retryable),
        (Unavailable("down"), Unavailable),
    ],
)
def test_what_the_query_is_answered_decides(
    failure: DeliveryError, raised: type[DeliveryError]
) -> None:
    world = once(doubt="check:seen")
    world.erp.fails = down()
    with pytest.raises(Unavailable):
        world.deliver(pick())
    world.erp.fails = failure
    with pytest.raises(raised):  # of a 404 the command, which is refused here likewise
        world.deliver(pick())
    assert world.journal.is_unsure(pick()) is (failure.status != 404)


@pytest.mark.parametrize(
    ("failure", "doubt"),
    [
        (Rejected("", status=400), False),
        (Retryable("", status=429), False),
        (Unavailable("", status=503), False),
        (Retryable("", status=500), True),
        (Unavailable("", status=504), True),
        (Unavailable(""), True),
        (KeyError(""), True),
    ],
)
def test_which_failures_leave_doubt(failure: Exception, doubt: bool) -> None:
    assert leaves_doubt(failure) is doubt
