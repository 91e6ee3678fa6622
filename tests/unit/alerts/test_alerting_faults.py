"""Alerts while channels fail, workers die or stand still, and Kafka is slow or away."""

from __future__ import annotations

import asyncio
from typing import Any

from alerting_kit import ERROR, KEY, START, Field, Phone, in_field
from trunkline.kafka import KafkaUnavailable
from trunkline.streams.alerts.manager import UNSHARED_TIMEOUT, AlertManager
from trunkline.testing.control import MemoryControl


@in_field
async def test_what_a_dead_worker_did_not_send_another_sends(field: Field) -> None:
    broken = Phone()
    broken.works = False
    dead, alive = await field.worker("a", broken), await field.worker("b")
    dead.monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(100, dead, alive)
    assert broken.attempts > 1
    assert field.phone.notifications == [], "the first still tries and holds its claim"
    await field.passes(100, alive)  # the first is dead now
    assert field.phone.states == ["firing"]


@in_field
async def test_a_channel_that_fails_stays_pending_and_holds_up_no_other(field: Field) -> None:
    broken = Phone()
    broken.works = False
    worker = await field.worker("a", broken, field.phone)
    worker.monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(2000, worker, step=10)
    assert field.phone.states == ["firing", "resolved"]
    broken.works = True
    await field.passes(1, worker)
    assert broken.states == ["firing", "resolved"]


class Slow(MemoryControl):
    """A control topic from which a write comes back two seconds later."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field
        self.pending: list[tuple[float, str, Any]] = []

    async def put(self, key: str, value: Any) -> None:
        self.pending.append((self.field.now + 2, key, value))

    async def arrive(self) -> None:
        here = [entry for entry in self.pending if entry[0] <= self.field.now]
        self.pending = [entry for entry in self.pending if entry[0] > self.field.now]
        for _, key, value in here:
            await super().put(key, value)


@in_field
async def test_workers_tell_once_although_they_hear_of_each_other_late(field: Field) -> None:
    slow = field.control = Slow(field)
    workers = [await field.worker(name) for name in "cba"]
    for _ in range(1000):
        if field.now < START + 30:
            for worker in workers:
                worker.monitor("warehouse").dead_lettered(1, ERROR)
        await field.passes(1, *workers)
        await slow.arrive()
    assert field.phone.states == ["firing", "resolved"]
    assert field.phone.notifications[-1].amount == 90


@in_field
async def test_a_worker_that_stood_still_hears_the_others_first(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(2, worker)
    field.now += 100
    await field.passes(1, worker)
    assert field.phone.notifications == []
    await field.passes(6, worker)
    assert field.phone.states == ["firing"]


class Cut(MemoryControl):
    """A control topic that cannot be written for a while."""

    away = True

    async def put(self, key: str, value: Any) -> None:
        if self.away:
            raise KafkaUnavailable("the broker is away")
        await super().put(key, value)


@in_field
async def test_nothing_is_said_to_be_over_while_the_others_cannot_be_heard(field: Field) -> None:
    cut = field.control = Cut()
    cut.away = False
    sees, blind = await field.worker("a"), await field.worker("b")
    sees.monitor("warehouse").lag(1000)
    await field.passes(10, sees, blind)
    cut.away = True
    await field.passes(300, sees, blind)
    cut.away = False
    await field.passes(100, sees, blind)
    assert field.phone.states == ["firing"]
    sees.monitor("warehouse").lag(0)
    await field.passes(100, sees, blind)
    assert field.phone.states == ["firing", "resolved"]


@in_field
async def test_people_are_told_although_kafka_is_away(field: Field) -> None:
    field.control = Cut()
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(UNSHARED_TIMEOUT, worker)
    assert field.phone.notifications == []
    await field.passes(5, worker)
    assert field.phone.states == ["firing"]


@in_field
async def test_a_record_that_is_no_alarm_is_replaced(field: Field) -> None:
    worker = await field.worker()
    await field.control.put(KEY, {"state": "who knows"})
    await field.passes(1, worker)
    worker.monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(10, worker)
    assert field.state["state"] == "firing"
    assert field.phone.states == ["firing"]


class Hanging(MemoryControl):
    """A control topic that neither takes a write nor says so."""

    async def put(self, key: str, value: Any) -> None:
        await asyncio.Event().wait()


def test_a_worker_stops_although_kafka_hangs() -> None:
    async def run() -> None:
        field = Field(Hanging())
        worker = AlertManager(field.control, (field.phone,), flow="orders")
        worker.monitor("warehouse").dead_lettered(1, ERROR)
        await worker.start()
        await worker.stop(grace=0.01)
        assert worker.failure is None
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
