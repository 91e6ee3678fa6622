"""Alerts of several workers: when people are told, how often, and what."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from alerting_kit import ERROR, HOUR, START, Field, in_field
from trunkline.errors import ConfigurationError
from trunkline.streams.alerts.manager import AlertManager
from trunkline.streams.flow.alert import Alert


@in_field
async def test_one_alert_when_it_begins_reminders_and_one_when_it_is_over(field: Field) -> None:
    worker = await field.worker()
    monitor = worker.monitor("warehouse")
    for _ in range(9 * 6):
        monitor.dead_lettered(1, ERROR)
        await field.passes(600, worker, step=10)
    assert field.phone.states == ["firing", "reminder", "reminder"]
    await field.passes(1000, worker, step=10)
    assert field.phone.states == ["firing", "reminder", "reminder", "resolved"]
    await field.passes(9 * HOUR, worker, step=10)
    assert len(field.phone.notifications) == 4
    assert {notification.id for notification in field.phone.notifications} == {
        field.phone.notifications[0].id
    }


@in_field
async def test_it_says_who_what_since_when_how_many_why_and_where_to_look(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(3, ERROR)
    await field.passes(10, worker)
    (notification,) = field.phone.notifications
    assert notification.text.splitlines() == [
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
        worker.monitor("warehouse").dead_lettered(number, ERROR)
    await field.passes(30, *workers)
    assert field.phone.states == ["firing"]
    assert field.phone.notifications[0].amount == 6
    await field.passes(1000, *workers)
    assert field.phone.states == ["firing", "resolved"]
    assert field.state["state"] == "resolved"


@in_field
async def test_a_new_worker_does_not_tell_again(field: Field) -> None:
    old = await field.worker("old")
    old.monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(10, old)
    new = await field.worker("new")
    await field.passes(800, new)
    assert field.phone.states == ["firing"]
    await field.passes(200, new)
    assert field.phone.states == ["firing", "resolved"]


@in_field
async def test_a_breaker_counts_only_when_it_is_open_too_long(field: Field) -> None:
    worker = await field.worker()
    monitor = worker.monitor("warehouse", Alert(open="10m"))
    monitor.breaker_open(field.now, "Unavailable: 503")
    await field.passes(600, worker)
    assert field.phone.notifications == []
    await field.passes(10, worker)
    assert field.phone.notifications[0].what == "the breaker is open for 10 min, events wait"
    assert field.phone.notifications[0].since == START
    monitor.breaker_open(None)
    await field.passes(70, worker)
    assert field.phone.states == ["firing", "resolved"]


@in_field
async def test_lag_that_moves_to_another_worker_is_one_alert(field: Field) -> None:
    first, second = await field.worker("a"), await field.worker("b")
    first.monitor("warehouse").lag(1000)
    await field.passes(10, first, second)
    first.monitor("warehouse").lag(0)
    await field.passes(20, first, second)
    second.monitor("warehouse").lag(1030)
    await field.passes(100, first, second)
    assert field.phone.states == ["firing"]
    assert field.phone.notifications[0].what == "events are 16 min late"


@in_field
async def test_a_dead_letter_limit_that_trips_is_told_of(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_letter_limit_tripped(True, ERROR)
    await field.passes(10, worker)
    worker.monitor("warehouse").dead_letter_limit_tripped(False)
    await field.passes(100, worker)
    kinds = [notification.subject.kind for notification in field.phone.notifications]
    assert kinds == ["dead_letter_limit"] * 2
    assert field.phone.states == ["firing", "resolved"]


@in_field
async def test_a_source_at_risk_is_told_of_with_what_its_system_says(field: Field) -> None:
    worker = await field.worker()
    monitor = worker.monitor("shop", step="publish")
    monitor.at_risk(["slot x is about to be lost"])
    await field.passes(10, worker)
    monitor.at_risk([])
    await field.passes(100, worker)
    assert field.phone.states == ["firing", "resolved"]
    text = field.phone.notifications[0].text
    assert "newest error: slot x is about to be lost" in text
    assert "to look: trunkline source status orders.shop" in text


@in_field
async def test_sources_and_routes_can_lag_too(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("orders", Alert(lag="1m"), step="route").lag(61)
    worker.monitor("shop", Alert(lag="1m"), step="publish").lag(61)
    await field.passes(10, worker)
    said = {notification.headline for notification in field.phone.notifications}
    assert said == {
        "FIRING orders: events are 1 min late",
        "FIRING orders.shop: events are 1 min late",
    }


@in_field
async def test_the_same_condition_again_is_a_new_alert(field: Field) -> None:
    worker = await field.worker()
    for _ in range(2):
        worker.monitor("warehouse").dead_lettered(2, ERROR)
        await field.passes(1000, worker, step=10)
    assert field.phone.states == ["firing", "resolved"] * 2
    assert [notification.amount for notification in field.phone.notifications] == [2, 2, 2, 2]
    assert field.phone.notifications[0].id != field.phone.notifications[2].id


@in_field
async def test_what_comes_before_the_message_is_written_counts(field: Field) -> None:
    worker = await field.worker()
    for _ in range(30):
        worker.monitor("warehouse").dead_lettered(1, ERROR)
        await field.passes(1, worker)
    sent = round(field.phone.notifications[0].at - START)
    assert field.phone.notifications[0].amount == sent


@in_field
async def test_idle_workers_write_nothing(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").lag(10)
    await field.passes(100, worker)
    assert field.control.state == {}


def test_every_alert_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        field = Field()
        worker = AlertManager(field.control, flow="orders", worker="a", clock=lambda: field.now)
        worker.monitor("warehouse").dead_lettered(1, ERROR)
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
        worker = AlertManager(field.control, (field.phone,), flow="orders")
        await worker.start()
        await worker.stop()
        assert worker.failure is None
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


@pytest.mark.parametrize("wrong", [{"lag": "soon"}, {"open": "0s"}, {"lag": 900}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Alert(**wrong)
