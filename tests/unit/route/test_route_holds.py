"""What cannot be routed for now holds its partition: the router leaves it and what is behind it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import pytest

from trunkline import ConfigurationError, Event, Retryable, Unavailable
from trunkline.errors import RegistryRefused, RegistryUnavailable, TableUnreadable
from trunkline.kafka.messages import StoredMessage
from trunkline.schemas.codec import MissingSchemas
from trunkline.streams.route import router as route_module
from trunkline.streams.route.compiled import CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Hold, Router, RoutingResult

HOLDING = [
    Unavailable("down"),
    Retryable("not yet", after=3),
    RegistryUnavailable("away"),
    RegistryRefused("no access"),
    TableUnreadable("a broken disk"),
]


def message(partition: int, offset: int, value: bytes = b"{}") -> StoredMessage:
    return StoredMessage("orders", partition, offset, b"k", value)


MESSAGES = [message(partition, offset) for offset in range(3) for partition in range(3)]


def compiled(function: Callable[[Event[Any]], Any], to: str = "erp") -> CompiledRoute:
    return CompiledRoute.of(
        function, name="r", inbox=f"{to}.inbox", dlq=f"{to}.dlq", encode=lambda data: b"{}"
    )


def route_that_raises(
    error: Exception, places: set[tuple[int, int]], *, waits: bool = False
) -> Callable[[Event[Any]], Any]:
    """A route that raises for the events of these partitions and offsets."""

    def route(event: Event[Any]) -> Any:
        if (event.partition, event.offset) in places:
            raise error
        return event.data

    async def awaited(event: Event[Any]) -> Any:
        await asyncio.sleep(0)
        return route(event)

    return awaited if waits else route


def routed(
    messages: Sequence[StoredMessage],
    *routes: CompiledRoute,
    decode: Callable[[bytes], Any] = json.loads,
    **more: Any,
) -> RoutingResult:
    router = Router({"orders": CompiledTopic(decode, list(routes))})
    return asyncio.run(router.route(messages, **more))


def places(done: RoutingResult) -> list[tuple[str, str]]:
    return [(topic, dict(headers)["tl_from"].decode()) for topic, _, _, headers in done.records]


@pytest.mark.parametrize("error", HOLDING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("waits", [False, True])
def test_a_partition_is_held_and_the_others_go_on(error: Exception, waits: bool) -> None:
    """All routes of a held event wait with it: else those that could be called would be twice."""
    down = compiled(route_that_raises(error, {(1, 1)}, waits=waits))
    done = routed(MESSAGES, compiled(lambda event: event.data, "crm"), down)
    assert done.holds == {("orders", 1): Hold(1, error)}
    expected = [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (2, 2)]
    assert places(done) == [
        (f"{to}.inbox", f"orders/{partition}/{offset}/r/1")
        for partition, offset in expected
        for to in ("crm", "erp")
    ]
    assert (done.taken, done.routed, done.dead) == (7, 14, 0)


@pytest.mark.parametrize("waits", [False, True])
def test_several_partitions_are_held_each_at_its_first(waits: bool) -> None:
    error = Unavailable("down")
    failing = {(0, 2), (1, 1), (1, 2), (2, 0)}
    done = routed(MESSAGES, compiled(route_that_raises(error, failing, waits=waits)))
    assert {at: hold.offset for (_, at), hold in done.holds.items()} == {0: 2, 1: 1, 2: 0}
    assert [place for _, place in places(done)] == [
        f"orders/{partition}/{offset}/r/1" for partition, offset in [(0, 0), (1, 0), (0, 1)]
    ]
    assert done.taken == 3


def test_what_cannot_be_read_for_now_is_held_too() -> None:
    def down(value: bytes) -> Any:
        if value == b"new":
            raise RegistryUnavailable("down")
        return {}

    messages = [message(0, 0, b"new"), message(1, 0), message(0, 1)]
    done = routed(messages, compiled(lambda event: event.data), decode=down)
    assert done.taken == 1
    assert list(done.holds) == [("orders", 0)]


def test_a_schema_that_is_missing_holds_the_partition_of_its_value() -> None:
    error, asked = RegistryUnavailable("away"), list[float]()

    async def ask(values: Iterable[bytes | None], patience: float) -> MissingSchemas:
        asked.append(patience)
        return {b'{"new': error} if b'{"new": 1}' in set(values) else {}

    messages = [message(0, 0), message(0, 1, b'{"new": 1}'), message(1, 0), message(0, 2)]
    topics = {"orders": CompiledTopic(json.loads, [compiled(lambda event: event.data)])}
    done = asyncio.run(Router(topics, ask).route(messages))
    assert done.holds == {("orders", 0): Hold(1, error)}
    assert [place for _, place in places(done)] == ["orders/0/0/r/1", "orders/1/0/r/1"]
    assert asked == [float("inf")]


def test_a_routes_own_mistake_is_a_dead_letter_and_holds_nothing() -> None:
    """A ConfigurationError of its own, too: it concerns what the route does with this event."""
    error = ConfigurationError("no such warehouse")
    done = routed(MESSAGES, compiled(route_that_raises(error, {(1, 1)})))
    assert (done.taken, done.dead, done.holds) == (9, 1, {})


def test_who_has_no_partition_to_hold_gets_all_or_the_error() -> None:
    down = compiled(route_that_raises(Unavailable("down"), {(1, 1)}))
    with pytest.raises(Unavailable, match="down"):
        routed(MESSAGES, down).all_or_none()
    assert routed(MESSAGES[:3], down).all_or_none().taken == 3


def test_what_there_is_no_time_for_is_not_counted() -> None:
    down = compiled(route_that_raises(Unavailable("down"), {(0, 0)}))
    done = routed(MESSAGES[1:], down, seconds=-1)
    assert done.taken == 1
    assert places(done) == [("erp.inbox", "orders/1/0/r/1")]


@pytest.mark.parametrize("waits", [False, True])
def test_what_went_well_is_routed_when_finding_out_has_taken_the_time(
    waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing more: ten seconds for each of 16 partitions are more than a transaction has. Nor
    less: the ten seconds of one that stands behind a hundred others would come a hundred times."""
    now, failing = [0.0], {(0, 2), (1, 1), (2, 0)}
    monkeypatch.setattr(route_module, "monotonic", lambda: now[0])

    def times_out(event: Event[Any]) -> Any:
        if (event.partition, event.offset) in failing:
            now[0] += 10
            raise Unavailable("down")
        return event.data

    async def awaited(event: Event[Any]) -> Any:
        await asyncio.sleep(0)
        return times_out(event)

    messages = [message(*place) for place in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]]
    done = routed(messages, compiled(awaited if waits else times_out), seconds=0.2)
    well = ["orders/0/0/r/1", "orders/0/1/r/1"]
    if waits:  # all at once, so every one is found
        assert {at: hold.offset for (_, at), hold in done.holds.items()} == {0: 2, 1: 1, 2: 0}
        assert [place for _, place in places(done)] == [*well, "orders/1/0/r/1"]
    else:
        assert (list(done.holds), now) == ([("orders", 0)], [10.0])
        assert [place for _, place in places(done)] == well


def test_what_a_route_awaits_may_be_cancelled() -> None:
    """By a pool of connections that is closed, say. No letter and no error would tell of it."""

    async def lost(event: Event[Any]) -> Any:
        if event.offset == 1:
            raise asyncio.CancelledError
        return event.data

    done = routed(MESSAGES[::3], compiled(lost))
    assert (done.taken, done.routed, done.dead) == (3, 2, 1)
    (dead,) = done.dead_letters.values()
    assert str(dead.error) == "what the route awaited was cancelled"


@pytest.mark.parametrize("waits", [False, True])
def test_an_outage_in_a_group_of_errors_holds_too(waits: bool) -> None:
    """A route that awaits two things in an asyncio.TaskGroup raises a group."""
    inner = ExceptionGroup("", [KeyError("x"), Unavailable("down")])
    error = ExceptionGroup("unhandled errors in a TaskGroup", [inner])
    done = routed(MESSAGES, compiled(route_that_raises(error, {(1, 1)}, waits=waits)))
    ((partition, hold),) = done.holds.items()
    assert (partition, hold.offset, str(hold.error)) == (("orders", 1), 1, "down")
    assert (done.routed, done.dead) == (7, 0)


def test_a_group_of_a_routes_own_mistakes_is_a_dead_letter() -> None:
    error = ExceptionGroup("", [KeyError("x")])
    done = routed(MESSAGES, compiled(route_that_raises(error, {(1, 1)})))
    assert (done.routed, done.dead, done.holds) == (8, 1, {})


def test_who_is_cancelled_while_routes_wait_ends() -> None:
    async def endless(event: Event[Any]) -> Any:
        await asyncio.Event().wait()

    async def scene() -> None:
        topics = {"orders": CompiledTopic(json.loads, [compiled(endless)])}
        routing = asyncio.create_task(Router(topics).route(MESSAGES))
        await asyncio.sleep(0)
        routing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await routing

    asyncio.run(scene())


def test_a_message_is_probed_and_nothing_comes_of_it() -> None:
    error = Unavailable("down")
    topics = {"orders": CompiledTopic(json.loads, [compiled(route_that_raises(error, {(0, 0)}))])}
    router = Router(topics)
    assert asyncio.run(router.probe(message(0, 0))) is error
    assert asyncio.run(router.probe(message(0, 1))) is None


def test_async_routes_that_are_called_again_are_ended() -> None:
    begun: list[Coroutine[Any, Any, Any]] = []

    async def waits(event: Event[Any]) -> Any:
        return event.data

    def begin(event: Event[Any]) -> Any:
        begun.append(waits(event))
        return begun[-1]

    first = compiled(begin)
    first.is_async = True
    down = compiled(route_that_raises(Unavailable("down"), {(0, 1)}))
    done = routed([message(0, 0), message(0, 1)], first, down)
    assert done.taken == 1
    assert [inspect.getcoroutinestate(one) for one in begun] == [inspect.CORO_CLOSED] * 3
