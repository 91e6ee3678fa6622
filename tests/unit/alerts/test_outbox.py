"""Notifications on their way: in order, and again until a channel takes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from trunkline.streams.alerts.channels import Channel, ChannelError
from trunkline.streams.alerts.notification import Notification, sample_notification
from trunkline.streams.alerts.outbox import Outbox

QUICK = 0.001


class Scripted(Channel):
    """A channel that fails as its script says, and then takes everything. ``hangs``: not even
    that."""

    def __init__(self, *failures: BaseException, name: str = "slack", hangs: bool = False) -> None:
        self.name = name
        self.failures = list(failures)
        self.hangs = hangs
        self.taken: list[str] = []

    async def send(self, notification: Notification) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(notification.id)


def numbered(number: int) -> Notification:
    return sample_notification(float(number))


def ids(*numbers: int) -> list[str]:
    return [numbered(number).id for number in numbers]


def run(outbox: Callable[[], Outbox], scene: Callable[[Outbox], Any]) -> None:
    async def inside() -> None:
        made = outbox()
        made.start()
        await scene(made)

    asyncio.run(inside())


def test_what_a_channel_awaits_may_be_cancelled() -> None:
    """By a session that somebody closes: it is no reason to tell nobody of anything any more."""
    away = Scripted(asyncio.CancelledError())

    async def scene(outbox: Outbox) -> None:
        for number in (1, 2):
            outbox.post(numbered(number), lambda: None)
        await outbox.stop()

    run(lambda: Outbox([away], first=QUICK), scene)
    assert away.taken == ids(1, 2)


def test_each_channel_takes_them_in_order_and_again_until_it_succeeds() -> None:
    away = Scripted(ChannelError("503"), ChannelError("503"), name="webhook")
    well, sent = Scripted(), list[int]()

    async def scene(outbox: Outbox) -> None:
        outbox.post(numbered(1), lambda: sent.append(1))
        outbox.post(numbered(2), lambda: sent.append(2))
        await outbox.stop()

    run(lambda: Outbox([away, well], first=QUICK), scene)
    assert away.taken == well.taken == ids(1, 2)
    assert sorted(sent) == [1, 1, 2, 2], "once for each channel that took it"


def test_a_channel_that_hangs_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    hangs, well = Scripted(hangs=True, name="smtp"), Scripted()

    async def scene(outbox: Outbox) -> None:
        outbox.post(numbered(1), lambda: None)
        await outbox.stop(grace=0.05)

    run(lambda: Outbox([hangs, well], first=QUICK), scene)
    assert (hangs.taken, well.taken) == ([], ids(1))
    assert "left behind" in caplog.text


def test_a_defect_of_a_channel_is_logged_with_its_traceback_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = Scripted(ChannelError("503"), LookupError("a defect"))

    async def scene(outbox: Outbox) -> None:
        outbox.post(numbered(1), lambda: None)
        await outbox.stop()

    run(lambda: Outbox([broken], first=QUICK), scene)
    assert broken.taken == ids(1)
    failed = [record for record in caplog.records if "not sent by slack" in record.message]
    assert [record.exc_info is not None for record in failed] == [False, True]


def test_what_happens_is_an_error_in_the_log_and_its_end_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(outbox: Outbox) -> None:
        outbox.post(numbered(1), lambda: None)
        outbox.post(replace(numbered(2), state="resolved"), lambda: None)
        await outbox.stop()

    run(lambda: Outbox([]), scene)
    levels = [record.levelno for record in caplog.records if "alert:" in record.message]
    assert levels == [logging.ERROR, logging.WARNING]


def test_without_a_channel_the_log_is_the_channel() -> None:
    sent: list[int] = []

    async def scene(outbox: Outbox) -> None:
        outbox.post(numbered(1), lambda: sent.append(1))
        assert sent == [1]
        await outbox.stop()

    run(lambda: Outbox([]), scene)


def test_one_that_never_started_stops_at_once() -> None:
    async def inside() -> None:
        outbox = Outbox([Scripted()])
        outbox.post(numbered(1), lambda: None)
        await outbox.stop()

    asyncio.run(inside())
