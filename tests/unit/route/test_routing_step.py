"""What becomes of a batch in the routing step: committed once, held, dropped or read again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from keeping_producer import KeepingProducer
from routing_kit import TOPIC, Group, Routing
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


def test_deletes_that_no_sink_takes_are_counted_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(routing: Routing) -> None:
        for _ in range(2):
            await routing.step.process(routing.batch(b"a", b"b", value=None))

    routing = run(scene)
    labels = {"flow": "f", "step": "route", "name": "erp"}
    registry = routing.all_metrics.registry
    assert registry.get_sample_value("trunkline_dropped_deletes_total", labels) == 4
    assert caplog.messages.count("deletes are not sent to f.erp.inbox: its sink takes none") == 1


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
        async def broken(messages: object, **more: object) -> Any:
            raise LookupError("a defect")

        routing.step._router.route = broken  # type: ignore[method-assign]
        before = routing.intake.epoch
        with pytest.raises(LookupError):
            await routing.step.process(routing.batch(b"a"))
        assert routing.intake.epoch == before + 1

    assert run(scene).producer.committed == []


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


# Routes that take long: the clock stands still but for what a route takes.


class Slow:
    """A route that takes ``seconds`` an event, and a producer whose transactions Kafka aborts when
    they have been open for longer than 10."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
        self.__name__ = "slow"
        self.now = 0.0
        self.seconds = seconds
        self.opened = 0.0
        slow = self

        class Expiring(KeepingProducer):
            def produce(self, topic: str, value: bytes, key: bytes, **more: Any) -> None:
                if not self._records:
                    slow.opened = slow.now
                super().produce(topic, value, key, **more)

            def commit_transaction(self) -> None:
                if slow.now - slow.opened > routing_step.TRANSACTION_TIMEOUT:
                    raise KafkaException(KafkaError(KafkaError._FENCED))
                super().commit_transaction()

        monkeypatch.setattr("routing_kit.KeepingProducer", Expiring)
        for module in ("step", "router"):
            monkeypatch.setattr(f"trunkline.streams.route.{module}.monotonic", lambda: slow.now)

    def __call__(self, event: Event[Any]) -> Any:
        self.now += self.seconds.get(event.key, self.seconds.get("each", 0.0))
        return event.data


def keys(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def everything(routing: Routing) -> list[bytes]:
    """The keys of all that is committed, as it stands in the inbox."""
    return [key for kept in routing.producers for keys, _ in kept.committed for key in keys]


@pytest.mark.parametrize("each", [0.004, 0.05, 0.9, 3.0, 7.0, 11.0, 600.0])
def test_a_slow_route_gets_through_whatever_it_takes(
    monkeypatch: pytest.MonkeyPatch, each: float
) -> None:
    route = Slow(monkeypatch, each=each)

    async def scene(routing: Routing) -> None:
        await routing.step.process(routing.batch(*keys(5_000 if each < 0.1 else 30)))

    routing = run(scene, route)
    assert everything(routing) == keys(5_000 if each < 0.1 else 30)
    assert routing.counted("transaction_failures") == 0
    assert routing.intake.wait_idle(0)
    offsets = [at for kept in routing.producers for _, found in kept.committed for at in [found[0]]]
    assert offsets == sorted(offsets)
    assert sum(len(batch.messages) for batch in routing.listener.batches) == len(
        everything(routing)
    )


def test_a_fast_route_has_one_transaction_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(routing: Routing) -> None:
        await routing.step.process(routing.batch(*keys(5_000)))

    routing = run(scene, Slow(monkeypatch, each=0.0001))
    assert len(routing.producer.committed) == 1


def test_a_route_that_is_slow_all_at_once_is_told_by_its_name_and_gets_through(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two hundred events are fast, and in an open transaction; then one takes half a minute."""
    route = Slow(monkeypatch, **{"250": 30.0})
    order = keys(300)

    async def scene(routing: Routing) -> None:
        await routing.step.process(routing.batch(*order))
        await routing.step.process(routing.batch(*order))  # as the poll loop reads it again

    routing = run(scene, route)
    assert everything(routing) == order
    assert routing.counted("transaction_failures") == 1
    assert "routes took 30.0 s for 251 events" in caplog.text
    assert "aborts a transaction after 10 s" in caplog.text


def test_a_transaction_that_kafka_did_not_take_blames_no_route(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(routing: Routing) -> None:
        await routing.step.process(routing.batch(b"a"))
        routing.producer.failures.append(ABORTED)
        await routing.step.process(routing.batch(b"b"))

    run(scene)
    assert "routes took" not in caplog.text


def test_a_slow_batch_does_not_hold_up_a_revocation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(routing: Routing) -> None:
        routing.step.on_revoked([], lost=True)
        before = routing.intake.epoch
        await routing.step.process(routing.batch(*keys(30)))
        assert routing.intake.epoch == before + 1, "the rest is read by the next owner"

    routing = run(scene, Slow(monkeypatch, each=2.0))
    assert everything(routing) == [b"0"]


def test_replays_write_between_two_parts_of_a_slow_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(routing: Routing) -> None:
        slow = asyncio.create_task(routing.step.process(routing.batch(*keys(30))))
        await asyncio.sleep(0)
        async with routing.transactions.lock:
            assert 0 < len(everything(routing)) < 30
        await slow

    run(scene, Slow(monkeypatch, each=2.0))


def test_lag_counts_what_was_read_and_is_not_routed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(routing: Routing) -> None:
        batch = routing.batch(*keys(30))
        routing.step.refresh()
        assert routing.counted("lag") == 30
        await routing.step.process(batch)
        routing.step.refresh()
        assert routing.counted("lag") == 0

    run(scene, Slow(monkeypatch, each=2.0))
