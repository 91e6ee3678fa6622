"""Workers that alert, on one control topic in memory, with a clock of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from trunkline.errors import Rejected
from trunkline.streams.alerts.channels import ChannelError
from trunkline.streams.alerts.manager import AlertManager
from trunkline.streams.alerts.notification import Notification
from trunkline.testing.control import MemoryControl

START = 1_700_000_000.0
HOUR = 3600
KEY = "alert/deliver/warehouse/dead_letters"
ERROR = Rejected("422: no such article")


class Phone:
    """A channel that a person carries. ``works``: whether it takes a notification now."""

    name = "phone"

    def __init__(self) -> None:
        self.works = True
        self.attempts = 0
        self.notifications: list[Notification] = []

    async def send(self, notification: Notification) -> None:
        self.attempts += 1
        if not self.works:
            raise ChannelError("no reception")
        self.notifications.append(notification)

    @property
    def states(self) -> list[str]:
        return [notification.state for notification in self.notifications]


class Field:
    """Workers of one flow, their phone, and time that passes when it is told to."""

    def __init__(self, control: MemoryControl | None = None) -> None:
        self.now = START
        self.control = control or MemoryControl()
        self.phone = Phone()

    async def worker(self, name: str = "a", *phones: Phone) -> AlertManager:
        alerts = AlertManager(
            self.control,
            phones or (self.phone,),
            flow="orders",
            worker=name,
            clock=lambda: self.now,
            retry_first=0,
        )
        alerts._unsubscribe = self.control.subscribe("alert/", alerts._on_record)
        alerts._outbox.start()
        return alerts

    async def passes(self, seconds: float, *workers: AlertManager, step: float = 1.0) -> None:
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
