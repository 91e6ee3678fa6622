"""What people are told of dead letters that were re-driven or discarded meanwhile."""

from __future__ import annotations

import asyncio

from alerting_kit import ERROR, HOUR, KEY, START, Field, in_counted_field
from trunkline.streams.alerts.unhandled import CLOCKS, MAX_COUNTED
from trunkline.streams.dlq.handled import HandledLetters


def told(field: Field) -> list[tuple[str, str]]:
    return [(one.state, one.what) for one in field.phone.notifications]


@in_counted_field
async def test_a_reminder_says_what_is_left_not_what_died(field: Field) -> None:
    worker = await field.worker()
    for _ in range(15):  # one in ten minutes, so that it lasts, and is reminded of
        worker.monitor("warehouse").dead_lettered(1, ERROR)
        field.queue.letters += 1
        await field.passes(600, worker, step=10)
    await field.handle(13)
    for _ in range(12):
        worker.monitor("warehouse").dead_lettered(1, ERROR)
        field.queue.letters += 1
        await field.passes(600, worker, step=10)
    await field.passes(1000, worker, step=10)
    assert [state for state, _ in told(field)] == ["firing", "reminder", "resolved"]
    reminder, resolved = field.phone.notifications[1:]
    assert reminder.what == "25 events dead-lettered; 12 events to re-drive or discard"
    assert reminder.amount == 12
    assert resolved.what == (
        "no more dead letters for 15 min, 27 events in all; 14 events to re-drive or discard"
    )
    assert resolved.amount == 14


@in_counted_field
async def test_it_is_over_a_minute_after_the_last_one_is_handled(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(15, ERROR)
    field.queue.letters = 15
    await field.passes(30, worker)
    await field.handle(13)
    await field.passes(120, worker)
    assert field.phone.states == ["firing"], "two are left"
    await field.handle(2)
    await field.passes(20, worker)
    assert told(field)[1:] == [("resolved", "every dead letter is re-driven or discarded")]
    assert field.phone.notifications[1].amount == 0
    await field.passes(9 * HOUR, worker, step=10)
    assert len(field.phone.notifications) == 2


@in_counted_field
async def test_what_dies_after_that_is_counted_anew(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(15, ERROR)
    await field.passes(10, worker)
    await field.handle(0)
    await field.passes(90, worker)
    assert field.phone.states == ["firing", "resolved"]
    worker.monitor("warehouse").dead_lettered(2, ERROR)
    died = field.now
    await field.passes(10, worker)
    assert told(field)[2:] == [("firing", "2 events dead-lettered")]
    assert field.phone.notifications[2].since == died


@in_counted_field
async def test_what_dies_while_nobody_takes_the_message_is_counted_anew(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(15, ERROR)
    await field.passes(10, worker)
    field.phone.works = False
    await field.handle(0)
    await field.passes(90, worker)
    worker.monitor("warehouse").dead_lettered(2, ERROR)
    field.phone.works = True
    await field.passes(10, worker)
    assert told(field)[1:] == [
        ("resolved", "every dead letter is re-driven or discarded"),
        ("firing", "2 events dead-lettered"),
    ]


@in_counted_field
async def test_a_worker_that_starts_knows_what_was_handled_before(field: Field) -> None:
    old = await field.worker("old")
    old.monitor("warehouse").dead_lettered(4, ERROR)
    field.queue.letters = 4
    await field.passes(10, old)
    await field.handle(4)  # while no worker runs
    field.now += 70
    new = await field.worker("new")
    await field.passes(15, new)
    assert told(field)[1:] == [("resolved", "every dead letter is re-driven or discarded")]


@in_counted_field
async def test_several_workers_tell_it_once(field: Field) -> None:
    workers = [await field.worker(name) for name in "abc"]
    workers[0].monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(30, *workers)
    await field.handle(0)
    await field.passes(120, *workers)
    assert field.phone.states == ["firing", "resolved"]


@in_counted_field
async def test_a_count_that_takes_longer_than_a_claim_is_told_once(field: Field) -> None:
    """A million letters, of which each but a few is handled. Two workers could else take the claim
    from each other for ever, and begin to count with each of theirs."""
    count = field.queue.unhandled

    async def slow(name: str, since: float, handled: HandledLetters) -> int:
        end = field.now + 100
        while field.now < end:  # noqa: ASYNC110 - the field's time has no events
            await asyncio.sleep(0)
        return await count(name, since, handled)

    field.queue.unhandled = slow  # type: ignore[method-assign]
    workers = [await field.worker(name) for name in "ab"]
    workers[0].monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(30, *workers)
    field.queue.letters = 1
    await field.passes(1200, *workers)
    assert field.phone.states == ["firing", "resolved"]


@in_counted_field
async def test_one_that_dies_at_the_last_moment_keeps_it_from_being_over(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(1, ERROR)
    await field.passes(58, worker)
    await field.handle(0)
    await field.passes(4, worker)  # it is about to be told
    worker.monitor("warehouse").dead_lettered(1, ERROR)
    field.queue.letters = 1
    await field.passes(300, worker)
    assert field.phone.states == ["firing"]
    await field.handle(1)
    await field.passes(20, worker)
    assert field.phone.states == ["firing", "resolved"]


@in_counted_field
async def test_a_queue_that_cannot_be_read_makes_no_number_and_no_end(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(3, ERROR)
    await field.passes(10, worker)
    field.queue.there = False
    await field.handle(0)
    await field.passes(800, worker)
    assert field.phone.states == ["firing"]
    await field.passes(200, worker)
    assert told(field)[1:] == [("resolved", "no more dead letters for 15 min, 3 events in all")]
    assert worker.failure is None


@in_counted_field
async def test_what_is_too_much_to_count_is_said_so(field: Field) -> None:
    worker = await field.worker()
    worker.monitor("warehouse").dead_lettered(50_000, ERROR)
    field.queue.letters = MAX_COUNTED
    await field.passes(1000, worker)
    assert told(field)[1][1].endswith("; 10,000 events or more to re-drive or discard")


@in_counted_field
async def test_a_quiet_alarm_is_not_counted_again_and_again(field: Field) -> None:
    worker = await field.worker()
    await field.handle(0)  # long ago
    worker.monitor("warehouse").dead_lettered(1, ERROR)
    field.queue.letters = 1
    await field.passes(890, worker)
    assert field.queue.asked == [START - CLOCKS], "once, for what was handled before its start"
    assert field.control.state[KEY]["state"] == "firing"
