"""Workers that alert, on one control topic in memory, with a clock of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from trunkline.errors import Rejected
from trunkline.kafka import KafkaUnavailable
from trunkline.streams.alerts.channels import ChannelError
from trunkline.streams.alerts.manager import AlertManager
from trunkline.streams.alerts.notification import Notification
from trunkline.streams.control.records import HandledKey
from trunkline.streams.dlq.handled import HandledLetters
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


class Queue:
    """The dead-letter queues of the flow: so many letters that nobody has handled.

    ``asked``: from when on they were counted; ``there``: whether Kafka answers.
    """

    def __init__(self) -> None:
        self.letters = 0
        self.there = True
        self.asked: list[float] = []

    async def unhandled(self, name: str, since: float, handled: HandledLetters) -> int:
        assert name == "warehouse"
        self.asked.append(since)
        if not self.there:
            raise KafkaUnavailable("nobody answers")
        return self.letters


class Field:
    """Workers of one flow, their phone, and time that passes when it is told to.

    ``counted``: whether workers count the letters in ``queue``.
    """

    def __init__(self, control: MemoryControl | None = None, *, counted: bool = False) -> None:
        self.now = START
        self.control = control or MemoryControl()
        self.phone = Phone()
        self.queue = Queue()
        self._counted = counted

    async def worker(self, name: str = "a", *phones: Phone) -> AlertManager:
        alerts = AlertManager(
            self.control,
            phones or (self.phone,),
            flow="orders",
            letters=self.queue if self._counted else None,
            worker=name,
            clock=lambda: self.now,
            retry_first=0,
        )
        alerts.begin()
        return alerts

    async def passes(self, seconds: float, *workers: AlertManager, step: float = 1.0) -> None:
        for _ in range(int(seconds / step)):
            self.now += step
            for worker in workers:
                worker.evaluate()
            for _ in range(8):
                await asyncio.sleep(0)

    async def handle(self, count: int) -> None:
        """Somebody re-drives or discards so many letters."""
        self.queue.letters -= count
        await self.control.put(HandledKey("warehouse", ("orders", 0)).text, {"handled": {}})

    @property
    def state(self) -> dict[str, Any]:
        return self.control.state[KEY]


def in_counted_field(test: Callable[[Field], Awaitable[None]]) -> Callable[[], None]:
    return in_field(test, counted=True)


def in_field(
    test: Callable[[Field], Awaitable[None]], *, counted: bool = False
) -> Callable[[], None]:
    async def run() -> None:
        await test(Field(counted=counted))
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def sync() -> None:
        asyncio.run(run())

    sync.__name__ = test.__name__
    return sync
