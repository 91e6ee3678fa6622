"""A destination's sink with operations: calls run, events pass, and what fails is told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from trunkline import Call, HttpRequest, Params
from trunkline.connectors.base import HttpReply, Sink
from trunkline.errors import DeliveryError, Rejected, Retryable
from trunkline.event import Event
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.operation import Operation
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.journal.record import moment_of, parsed_call
from trunkline.streams.operations.sink import OperationSink

NOW = 1_800_000_000.0


class Erp(Sink[Any]):
    """Records what it is asked for; ``fails`` is raised."""

    type = dict
    takes_calls = True
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
