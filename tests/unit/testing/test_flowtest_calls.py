"""Calls of operations in virtual time, and routes that make them: order, repeats, retries, expiry,
doubt, crashes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from trunkline import Call, Event, Flow, HttpRequest, Message, Params, Rejected, Retry, Unavailable
from trunkline.connectors.http import HttpSink
from trunkline.errors import ConfigurationError, DeliveryError
from trunkline.schemas.commerce import Order
from trunkline.streams.check.flows import check
from trunkline.testing import FlowTest


class Env(Params):
    erp_url: str


class World:
    """A flow whose route calls an operation, and which others call, too."""

    def __init__(self) -> None:
        self.flow = flow = Flow("shop", Env)
        self.orders = orders = flow.existing_topic("shop.orders", Order)

        @flow.destination(retry=Retry("10s", "1m"))
        def erp(env: Env) -> HttpSink[Order]:
            return HttpSink(env.erp_url, Order)

        @flow.operation(
            to=erp, verb="correct", resource="orders", key="id", expires="5m", max_backlog="5m"
        )
        def correct(call: Call[Order]) -> HttpRequest:
            return HttpRequest("PATCH", f"/orders/{call.key}", json=call.data)

        @flow.operation(
            to=erp, verb="ship", resource="orders", key="id", doubt="ask", max_backlog="1h"
        )
        def ship(call: Call[Order]) -> HttpRequest:
            return HttpRequest("POST", f"/orders/{call.key}/ship")

        @flow.operation(to=erp, verb="get", resource="orders", key="id")
        def look(call: Call[Order]) -> HttpRequest:
            return HttpRequest("GET", f"/payments/{call.id}")

        @flow.operation(to=erp, verb="pay", resource="orders", key="id", doubt="check:look")
        def pay(call: Call[Order]) -> HttpRequest:
            return HttpRequest("POST", "/payments", json=call.id)

        @flow.route(orders, to=erp)
        def plain(order: Event[Order]) -> Order | None:
            return order.data if order.data["status"] == "event" else None

        @flow.route(orders, to=correct)
        def corrected(order: Event[Order]) -> list[Order | Message[Order]]:
            if order.data["status"] == "twice":
                return [order.data, Message(order.data, headers={"x": "1"})]
            return [order.data] if order.data["status"] == "call" else []

        self.erp, self.correct, self.ship, self.look, self.pay = erp, correct, ship, look, pay
        self.corrected = corrected


def order(id: str, status: str = "paid", cents: int = 1) -> Order:
    return Order(id=id, status=status, total_cents=cents)


def test_a_route_calls_an_operation_in_the_order_of_the_entity() -> None:
    world = World()
    assert check(world.flow) == []
    with FlowTest(world.flow) as test:
        system = test.destination(world.erp).answers(503, times=1).answers(500)
        test.publish(world.orders, order("7", "event"))
        test.publish(world.orders, order("7", "call", 2))
        test.call(world.correct, order("7", cents=3))
        test.publish(world.orders, order("7", "event", 4))
        test.run_until_idle()
        done: Any = [(a.at, a.data["total_cents"]) for a in system.delivered]
        done += [(c.at, c.request.json["total_cents"]) for c in system.calls if c.error is None]
        assert [cents for _, cents in sorted(done)] == [1, 2, 3, 4]
        routed = next(call for call in test.called if call.client == "flow/shop")
        assert (routed.state, routed.operation, routed.key) == ("succeeded", "correct", "7")


def test_an_event_that_comes_again_is_the_same_call_and_parts_are_several() -> None:
    world = World()
    with FlowTest(world.flow) as test:
        for _ in range(2):
            test.publish(world.orders, order("7", "call"), id="e-1")
            test.publish(world.orders, order("8", "twice"), id="e-2")
        test.run_until_idle()
        asked = test.destination(world.erp).calls
        assert sorted(c.request.path for c in asked) == ["/orders/7", "/orders/8", "/orders/8"]
        assert len({c.id for c in asked}) == 3


def test_a_routed_call_waits_as_an_event_does_and_ends_in_the_queue() -> None:
    world = World()
    with FlowTest(world.flow) as test:
        system = test.destination(world.erp).down_for("2h")
        test.publish(world.orders, order("7", "call"))
        test.advance("1h")  # expires= is of callers who wait
        assert [c for c in test.called if c.state == "expired"] == []
        system.up().answers(500, times=3)
        test.run_until_idle()
        (call,) = test.called
        assert call.state == "dead"
        assert [letter.shown_key for letter in test.dead_letters(world.erp)] == ["7"]


def test_what_the_system_refuses_of_a_route_is_a_dead_letter() -> None:
    """No caller hears of it."""
    world = World()
    with FlowTest(world.flow) as test:
        test.destination(world.erp).answers(422, times=1)
        test.publish(world.orders, order("7", "call"))
        test.run_until_idle()
        (call,) = test.called
        assert (call.state, call.status, call.client) == ("dead", 422, "flow/shop")
        (letter,) = test.dead_letters(world.erp)
        assert letter.shown_key == "7"


def test_a_worker_that_is_killed_asks_again_with_the_same_id_until_it_is_written() -> None:
    world = World()
    with FlowTest(world.flow) as test:
        test.destination(world.erp).takes("2s")
        test.publish(world.orders, order("7", "call"))
        test.advance("1s")
        test.crash()
        test.run_until_idle()
        test.crash()
        test.run_until_idle()
        asked = test.destination(world.erp).calls
        assert len({c.id for c in asked}) == 1
        assert [c.state for c in test.called] == ["succeeded"]
        assert len([c for c in asked if c.error is None]) == 1


def test_a_call_has_the_answer_of_its_system_and_a_repeat_is_not_run() -> None:
    world = World()
    with FlowTest(world.flow) as test:
        system = test.destination(world.erp).replies(lambda request: {"path": request.path})
        for _ in range(2):
            test.call(world.correct, order("7"), id="c")
        test.run_until_idle()
        state = test.call_state("c")
        assert (state.state, state.reply, state.attempt) == ("succeeded", '{"path":"/orders/7"}', 1)
        assert len(system.calls) == 1
    with pytest.raises(KeyError):
        test.call_state("d")


def test_a_call_that_waits_says_behind_what_and_until_when() -> None:
    """Whether it waits in memory or in a retry topic; after a restart as far as is known."""
    world = World()
    with FlowTest(world.flow) as test:
        test.destination(world.erp).answers(500, times=2)
        test.publish(world.orders, order("7", "event"), id="e-1")
        test.advance("1s")
        test.call(world.correct, order("7"), id="soon")
        test.advance("1s")
        found = test.call_state("soon")
        assert (found.state, found.due_at) == (
            "accepted",
            pytest.approx(test.now.timestamp(), abs=12),
        )
        assert re.fullmatch(
            "it waits behind event e-1, whose attempt 1 failed, due 2026-01-01T00:00:1.*Z",
            found.why,
        )
        test.advance("12s")
        test.call(world.correct, order("7"), id="later")
        test.advance("1s")
        assert "event e-1, whose attempt 2 failed, due 2026-01-01T00:01:1" in (
            test.call_state("later").why
        )
        test.crash()
        test.call(world.correct, order("7"), id="after")
        test.advance("1s")
        assert re.fullmatch(
            "it waits behind an earlier event of the same entity, due 2026-01-01T00:01:1.*Z",
            test.call_state("after").why,
        )
        test.run_until_idle()
        assert {call.state for call in test.called} == {"succeeded"}


def test_a_backlog_that_is_too_old_is_told_to_gateways() -> None:
    world = World()
    assert world.erp.max_backlog == 300
    with FlowTest(world.flow) as test:
        test.destination(world.erp).takes("400s")
        test.call(world.correct, order("7"))
        test.advance("299s")
        assert told_of(test) == []
        test.advance("4s")
        assert [one["state"] for one in told_of(test)] == ["behind"]
        test.advance("60s")
        assert all(one["oldest"] > 330 for one in told_of(test))
        test.run_until_idle()
        test.advance("3s")
        assert told_of(test) == []


def told_of(test: FlowTest[Any]) -> list[Any]:
    """What workers tell of their destinations in the control topic."""
    state = test._control.state
    return [value for key, value in state.items() if key.startswith("status/erp/")]


def test_a_call_expires_and_is_cancelled_while_its_system_is_down() -> None:
    world = World()
    with FlowTest(world.flow) as test:
        system = test.destination(world.erp).down()
        late, gone = test.call(world.correct, order("7")), test.call(world.correct, order("8"))
        test.advance("30s")
        test.cancel(gone)
        test.advance("2m")
        assert test.call_state(gone).state == "cancelled"
        assert test.call_state(late).state != "expired"
        test.advance("4m")
        assert test.call_state(late).state == "expired"
        system.up()
        test.run_until_idle()
        assert [c for c in system.calls if c.error is None] == []


def test_what_the_system_refuses_is_the_callers_and_no_dead_letter() -> None:
    world = World()
    with FlowTest(world.flow) as test:
        test.destination(world.erp).answers(422)
        id_ = test.call(world.correct, order("7"))
        test.run_until_idle()
        assert (test.call_state(id_).state, test.call_state(id_).status) == ("rejected", 422)
        assert test.dead_letters(world.erp) == []


def test_an_answer_that_is_lost_is_left_to_a_person() -> None:
    world = World()
    with FlowTest(world.flow) as test:
        test.destination(world.erp).answers(500)
        id_ = test.call(world.ship, order("7"))
        test.run_until_idle()
        assert test.call_state(id_).state == "in_doubt"
        assert len(test.destination(world.erp).calls) == 1


@pytest.mark.parametrize(("done", "asked"), [(True, 2), (False, 3)])
def test_an_answer_that_is_lost_is_asked_for(done: bool, asked: int) -> None:
    world = World()

    def reply(request: HttpRequest) -> Any:
        if request.method == "GET" and not done:
            raise Rejected("no such payment", status=404)
        return {"paid": True}

    with FlowTest(world.flow) as test:
        system = test.destination(world.erp).replies(reply)
        system.answers(Unavailable("the answer is lost"))
        id_ = test.call(world.pay, order("7"))
        test.run_until_idle()
        assert test.call_state(id_).state == "succeeded"
        assert [c.request.method for c in system.calls][:2] == ["POST", "GET"]
        assert len(system.calls) == asked


def test_a_query_is_asked_at_once() -> None:
    world = World()
    with FlowTest(world.flow) as test:
        system = test.destination(world.erp).replies(lambda request: {"n": 1, "at": request.path})
        assert test.ask(world.look, order("7"))["n"] == 1
        system.answers(404)
        with pytest.raises(DeliveryError):
            test.ask(world.look, order("7"))
        with pytest.raises(ConfigurationError, match="use call"):
            test.ask(world.correct, order("7"))
        with pytest.raises(ConfigurationError, match="use ask"):
            test.call(world.look, order("7"))
