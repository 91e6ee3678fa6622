"""Alerts of several workers on one control topic in memory, with a clock of their own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from trunkline.errors import ConfigurationError, Rejected
from trunkline.kafka import KafkaUnavailable
from trunkline.streams.alerting import ALONE, Alerts
from trunkline.streams.alerts import Alert
from trunkline.streams.control import MemoryControl
from trunkline.streams.notices import Notice
from trunkline.streams.notify import ChannelError

START = 1_700_000_000.0
HOUR = 3600
KEY = "alert/deliver/warehouse/dead_letters"
ERROR = Rejected("422: no such article")


class Phone:
    """A channel that a person carries. ``works``: whether it takes a notice now."""

    name = "phone"

    def __init__(self) -> None:
        self.works = True
        self.attempts = 0
        self.notices: list[Notice] = []

    async def send(self, notice: Notice) -> None:
        self.attempts += 1
        if not self.works:
            raise ChannelError("no reception")
        self.notices.append(notice)

    @property
    def states(self) -> list[str]:
        return [notice.state for notice in self.notices]


class Field:
    """Workers of one flow, their phone, and time that passes when it is told to."""

    def __init__(self, control: MemoryControl | None = None) -> None:
        self.now = START
        self.control = control or MemoryControl()
        self.phone = Phone()

    async def worker(self, name: str = "a", *phones: Phone) -> Alerts:
        alerts = Alerts(
            self.control,
            phones or (self.phone,),
            flow="orders",
            worker=name,
            clock=lambda: self.now,
            retry_first=0,
        )
        alerts._unsubscribe = self.control.subscribe("alert/", alerts._learned)
        alerts._outbox.start()
        return alerts

    async def passes(self, seconds: float, *workers: Alerts, step: float = 1.0) -> None:
        for _ in range(int(seconds / step)):
            self.now += step
            for worker in workers:
                worker.evaluate()
            for _ in range(8):
                await asyncio.sleep(0)

    @property
    def state(self) -> dict[str, Any]:
        return self.control.state[KEY]


def in_field(test: Callable[[Field], Awaitable[None]]) -> Callable[[], None]:
    async def run() -> None:
        await test(Field())
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def sync() -> None:
        asyncio.run(run())

    sync.__name__ = test.__name__
    return sync


@in_field
async def test_one_alert_when_it_begins_reminders_and_one_when_it_is_over(field: Field) -> None:
    worker = await field.worker()
    watch = worker.watch("warehouse")
    for _ in range(9 * 6):
        watch.dead_lettered(1, ERROR)
        await field.passes(600, worker, step=10)
    assert field.phone.states == ["firing", "reminder", "reminder"]
    await field.passes(1000, worker, step=10)
    assert field.phone.states == ["firing", "reminder", "reminder", "resolved"]
    await field.passes(9 * HOUR, worker, step=10)
    assert len(field.phone.notices) == 4
    assert {notice.id for notice in field.phone.notices} == {field.phone.notices[0].id}


@in_field
async def test_it_says_who_what_since_when_how_many_why_and_where_to_look(field: Field) -> None:
    worker = await field.worker()
    worker.watch("warehouse").dead_lettered(3, ERROR)
    await field.passes(10, worker)
    (notice,) = field.phone.notices
    assert notice.text.splitlines() == [
        "FIRING orders.warehouse: 3 events dead-lettered",
        "flow orders, destination warehouse",
        "since 2023-11-14T22:13:20.000+00:00 (6 s)",
        "newest error: Rejected: 422: no such article",
        "to look: trunkline dlq group orders.warehouse",
    ]


@in_field
async def test_several_workers_tell_once(field: Field) -> None:
    workers = [await field.worker(name) for name in "abc"]
    for number, worker in enumerate(workers, 1):
        worker.watch("warehouse").dead_lettered(number, ERROR)
    await field.passes(30, *workers)
    assert field.phone.states == ["firing"]
    assert field.phone.notices[0].amount == 6
    await field.passes(1000, *workers)
    assert field.phone.states == ["firing", "resolved"]
    assert field.state["state"] == "resolved"


@in_field
async def test_a_new_worker_does_not_tell_again(field: Field) -> None:
    old = await field.worker("old")
    old.watch("warehouse").dead_lettered(1, ERROR)
    await field.passes(10, old)
    new = await field.worker("new")
    await field.passes(800, new)
    assert field.phone.states == ["firing"]
    await field.passes(200, new)
    assert field.phone.states == ["firing", "resolved"]


@in_field
async def test_what_a_dead_worker_did_not_send_another_sends(field: Field) -> None:
    broken = Phone()
    broken.works = False
    dead, alive = await field.worker("a", broken), await field.worker("b")
    dead.watch("warehouse").dead_lettered(1, ERROR)
    await field.passes(100, dead, alive)
    assert broken.attempts > 1
    assert field.phone.notices == [], "the first still tries and holds its claim"
    await field.passes(100, alive)  # the first is dead now
    assert field.phone.states == ["firing"]


@in_field
async def test_a_channel_that_fails_stays_pending_and_holds_up_no_other(field: Field) -> None:
    broken = Phone()
    broken.works = False
    worker = await field.worker("a", broken, field.phone)
    worker.watch("warehouse").dead_lettered(1, ERROR)
    await field.passes(2000, worker, step=10)
    assert field.phone.states == ["firing", "resolved"]
    broken.works = True
    await field.passes(1, worker)
    assert broken.states == ["firing", "resolved"]


@in_field
async def test_a_breaker_counts_only_when_it_is_open_too_long(field: Field) -> None:
    worker = await field.worker()
    watch = worker.watch("warehouse", Alert(open="10m"))
    watch.breaker_open(field.now, "Unavailable: 503")
    await field.passes(600, worker)
    assert field.phone.notices == []
    await field.passes(10, worker)
    assert field.phone.notices[0].what == "the breaker is open for 10 min, events wait"
    assert field.phone.notices[0].since == START
    watch.breaker_open(None)
    await field.passes(70, worker)
    assert field.phone.states == ["firing", "resolved"]


@in_field
async def test_lag_that_moves_to_another_worker_is_one_alert(field: Field) -> None:
    first, second = await field.worker("a"), await field.worker("b")
    first.watch("warehouse").lag(1000)
    await field.passes(10, first, second)
    first.watch("warehouse").lag(0)
    await field.passes(20, first, second)
    second.watch("warehouse").lag(1030)
    await field.passes(100, first, second)
    assert field.phone.states == ["firing"]
    assert field.phone.notices[0].what == "events are 16 min late"


@in_field
async def test_a_valve_is_told_of(field: Field) -> None:
    worker = await field.worker()
    worker.watch("warehouse").valve_closed(True, ERROR)
    await field.passes(10, worker)
    worker.watch("warehouse").valve_closed(False)
    await field.passes(100, worker)
    assert [notice.subject.kind for notice in field.phone.notices] == ["valve", "valve"]
    assert field.phone.states == ["firing", "resolved"]


@in_field
async def test_sources_and_routes_can_lag_too(field: Field) -> None:
    worker = await field.worker()
    worker.watch("orders", Alert(lag="1m"), step="route").lag(61)
    worker.watch("shop", Alert(lag="1m"), step="publish").lag(61)
    await field.passes(10, worker)
    said = {notice.headline for notice in field.phone.notices}
    assert said == {
        "FIRING orders: events are 1 min late",
        "FIRING orders.shop: events are 1 min late",
    }


@in_field
async def test_the_same_condition_again_is_a_new_alert(field: Field) -> None:
    worker = await field.worker()
    for _ in range(2):
        worker.watch("warehouse").dead_lettered(2, ERROR)
        await field.passes(1000, worker, step=10)
    assert field.phone.states == ["firing", "resolved"] * 2
    assert [notice.amount for notice in field.phone.notices] == [2, 2, 2, 2]
    assert field.phone.notices[0].id != field.phone.notices[2].id


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
                worker.watch("warehouse").dead_lettered(1, ERROR)
        await field.passes(1, *workers)
        await slow.arrive()
    assert field.phone.states == ["firing", "resolved"]
    assert field.phone.notices[-1].amount == 90


@in_field
async def test_a_worker_that_stood_still_hears_the_others_first(field: Field) -> None:
    worker = await field.worker()
    worker.watch("warehouse").dead_lettered(1, ERROR)
    await field.passes(2, worker)
    field.now += 100
    await field.passes(1, worker)
    assert field.phone.notices == []
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
    sees.watch("warehouse").lag(1000)
    await field.passes(10, sees, blind)
    cut.away = True
    await field.passes(300, sees, blind)
    cut.away = False
    await field.passes(100, sees, blind)
    assert field.phone.states == ["firing"]
    sees.watch("warehouse").lag(0)
    await field.passes(100, sees, blind)
    assert field.phone.states == ["firing", "resolved"]


@in_field
async def test_what_comes_before_the_message_is_written_counts(field: Field) -> None:
    worker = await field.worker()
    for _ in range(30):
        worker.watch("warehouse").dead_lettered(1, ERROR)
        await field.passes(1, worker)
    sent = round(field.phone.notices[0].at - START)
    assert field.phone.notices[0].amount == sent


@in_field
async def test_people_are_told_although_kafka_is_away(field: Field) -> None:
    field.control = Cut()
    worker = await field.worker()
    worker.watch("warehouse").dead_lettered(1, ERROR)
    await field.passes(ALONE, worker)
    assert field.phone.notices == []
    await field.passes(5, worker)
    assert field.phone.states == ["firing"]


@in_field
async def test_idle_workers_write_nothing(field: Field) -> None:
    worker = await field.worker()
    worker.watch("warehouse").lag(10)
    await field.passes(100, worker)
    assert field.control.state == {}


@in_field
async def test_a_record_that_is_no_alarm_is_replaced(field: Field) -> None:
    worker = await field.worker()
    await field.control.put(KEY, {"state": "who knows"})
    await field.passes(1, worker)
    worker.watch("warehouse").dead_lettered(1, ERROR)
    await field.passes(10, worker)
    assert field.state["state"] == "firing"
    assert field.phone.states == ["firing"]


def test_every_alert_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        field = Field()
        worker = Alerts(field.control, flow="orders", worker="a", clock=lambda: field.now)
        worker.watch("warehouse").dead_lettered(1, ERROR)
        await worker.start()
        await field.passes(10, worker)
        await worker.stop()
        assert field.state["sent"] is not None

    asyncio.run(run())
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "1 event dead-lettered" in line.getMessage()


def test_a_worker_that_stops_leaves_nothing_running() -> None:
    async def run() -> None:
        field = Field()
        worker = Alerts(field.control, (field.phone,), flow="orders")
        await worker.start()
        await worker.stop()
        assert worker.failure is None
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


class Hanging(MemoryControl):
    """A control topic that neither takes a write nor says so."""

    async def put(self, key: str, value: Any) -> None:
        await asyncio.Event().wait()


def test_a_worker_stops_although_kafka_hangs() -> None:
    async def run() -> None:
        field = Field(Hanging())
        worker = Alerts(field.control, (field.phone,), flow="orders")
        worker.watch("warehouse").dead_lettered(1, ERROR)
        await worker.start()
        await worker.stop(grace=0.01)
        assert worker.failure is None
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


@pytest.mark.parametrize("wrong", [{"lag": "soon"}, {"open": "0s"}, {"lag": 900}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Alert(**wrong)
