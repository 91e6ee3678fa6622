"""Notifications on their way to the channels: at least once, with back-off, in a task of their
own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from trunkline.streams.alerts.channels import LONGEST_WAIT, Channel, ChannelError
from trunkline.streams.alerts.notification import Notification

log = logging.getLogger(__name__)


class Outbox:
    """Notices on their way: each channel takes them in order, and again until it succeeds.

    ``first``: seconds before the second attempt; the wait doubles, up to five minutes. For the
    event loop.
    """

    def __init__(self, channels: Sequence[Channel], *, first: float = 1.0) -> None:
        self._first = first
        self._queues = [(channel, asyncio.Queue[_Posted]()) for channel in channels]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send."""
        self._tasks = [
            asyncio.create_task(self._send(channel, queue), name=f"alerts-{channel.name}")
            for channel, queue in self._queues
        ]

    def post(self, notice: Notification, told: Callable[[], None]) -> None:
        """Send by every channel; ``told`` is called once for each that took it. Logged as an
        error whatever becomes of it; without any channel the log is the channel."""
        level = logging.WARNING if notice.state == "resolved" else logging.ERROR
        log.log(level, "alert: %s", notice.text.replace("\n", "; "), extra={"alert": notice.id})
        for _, queue in self._queues:
            queue.put_nowait((notice, told))
        if not self._queues:
            told()

    async def stop(self, grace: float = 5.0) -> None:
        """Give what is on its way so many seconds more. What nobody was told of by then, another
        worker tells, or this one after its next start."""
        sent = asyncio.gather(*(queue.join() for _, queue in self._queues))
        try:
            await asyncio.wait_for(sent, grace if self._tasks else 0)
        except TimeoutError:
            log.error("alerts that not every channel took are left behind; they are in this log")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, channel: Channel, queue: asyncio.Queue[_Posted]) -> None:
        while True:
            notice, told = await queue.get()
            await self._until_sent(channel, notice)
            told()
            queue.task_done()

    async def _until_sent(self, channel: Channel, notice: Notification) -> None:
        wait = self._first
        while True:
            try:
                return await channel.send(notice)
            except Exception as error:  # whatever it is, the notice stays pending
                known = isinstance(error, ChannelError)
                log.error(
                    "alert %r is not sent by %s yet, again in %.0f s: %s",
                    notice.headline,
                    channel.name,
                    wait,
                    error,
                    exc_info=None if known else error,
                )
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)


_Posted = tuple[Notification, Callable[[], None]]
