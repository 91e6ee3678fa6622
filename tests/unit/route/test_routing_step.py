"""What becomes of a batch in the routing step: committed once, held, dropped or read again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, TopicPartition

from routing_kit import TOPIC, Group, Routing
from trunkline.errors import RegistryUnavailable
from trunkline.event import Event
from trunkline.streams.route import step as routing_step

ABORTED = KafkaError(KafkaError._STATE)


def whole(event: Event[Any]) -> Any:
    return event.data


def run(scene: Callable[[Routing], Any], route: Callable[[Event[Any]], Any] = whole) -> Routing:
    """One scene in an event loop; the step stops at its end."""

    async def inside() -> Routing:
        routing = Routing(route)
        try:
            await scene(routing)
        finally:
            await routing.step.stop()
        return routing

    return asyncio.run(inside())


def test_records_and_the_offset_behind_them_are_one_transaction() -> None:
    async def scene(routing: Routing) -> None:
        await routing.step.process(routing.batch(b"a", b"b"))

    routing = run(scene)
    assert routing.producer.committed == [([b"a", b"b"], {0: 2})]
    assert routing.intake.wait_idle(0)
    assert routing.counted("events_out") == 2


def test_chunks_of_a_batch_are_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing_step, "CHUNK_EVENTS", 2)

    async def scene(routing: Routing) -> None:
        await routing.step.process(routing.batch(b"a", b"b", b"c"))

    assert run(scene).producer.committed == [([b"a", b"b", b"c"], {0: 3})]


def test_the_listener_is_told_of_a_batch_before_anybody_else_writes() -> None:
    async def scene(routing: Routing) -> None:
        batch = routing.batch(b"a")
        await routing.transactions.lock.acquire()
        waiting = asyncio.create_task(routing.step.process(batch))
        await asyncio.sleep(0)
        assert routing.listener.batches == []
        routing.transactions.lock.release()
        async with routing.transactions.lock:
            assert routing.listener.batches == [batch]
        await waiting

    run(scene)


def test_a_batch_of_an_earlier_assignment_is_dropped() -> None:
    async def scene(routing: Routing) -> None:
        batch = routing.batch(b"a")
        routing.intake.rewind()
        await routing.step.process(batch)

    routing = run(scene)
    assert routing.producers == []
    assert routing.listener.batches == []


def test_a_transaction_that_failed_is_read_again() -> None:
    async def scene(routing: Routing) -> None:
        await routing.step.process(routing.batch(b"a"))
        routing.producer.failures.append(ABORTED)
        before = routing.intake.epoch
        await routing.step.process(routing.batch(b"b"))
        assert routing.intake.epoch == before + 1

    routing = run(scene)
    assert [keys for keys, _ in routing.producer.committed] == [[b"a"]]
    assert routing.producer.aborted == 1
    assert len(routing.listener.batches) == 1
    assert routing.counted("transaction_failures") == 1


def test_what_nobody_foresaw_is_raised_and_nothing_of_it_committed() -> None:
    async def scene(routing: Routing) -> None:
        async def broken(messages: object) -> Any:
            raise LookupError("a defect")

        routing.step._router.route = broken  # type: ignore[method-assign]
        before = routing.intake.epoch
        with pytest.raises(LookupError):
            await routing.step.process(routing.batch(b"a"))
        assert routing.intake.epoch == before + 1

    assert run(scene).producer.committed == []


def unavailable(times: int) -> Callable[[Event[Any]], Any]:
    """A route that finds the registry away so many times."""
    left = iter(range(times))

    def route(event: Event[Any]) -> Any:
        if next(left, None) is not None:
            raise RegistryUnavailable("away")
        return event.data

    return route


def test_a_batch_waits_for_its_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing_step, "FIRST_PAUSE", 0.001)

    async def scene(routing: Routing) -> None:
        await routing.step.process(routing.batch(b"a"))

    routing = run(scene, unavailable(2))
    assert routing.producer.committed == [([b"a"], {0: 1})]
    assert routing.producer.aborted == 2


def test_a_batch_that_waits_for_its_schemas_does_not_hold_up_a_revocation() -> None:
    async def scene(routing: Routing) -> None:
        routing.step.on_revoked([], lost=True)
        before = routing.intake.epoch
        await routing.step.process(routing.batch(b"a"))
        assert routing.intake.epoch == before + 1, "nor is what was read behind it committed"

    assert run(scene, unavailable(9)).producer.committed == []


def test_routing_begins_at_the_committed_offsets() -> None:
    async def scene(routing: Routing) -> None:
        both = [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]
        starts = routing.step.on_assigned(cast(Any, Group()), both)
        assert [at.offset for at in starts] == [7, 7]
        routing.step.on_revoked(both, lost=False)

    assert run(scene).listener.owned == [{(TOPIC, 0), (TOPIC, 1)}, frozenset()]


def test_batches_are_handed_to_the_event_loop() -> None:
    async def scene(routing: Routing) -> None:
        batch = routing.batch(b"a")
        routing.step.on_batch(batch)
        assert routing.enqueued == [batch]

    run(scene)
