"""Notifications on their way to the channels: at least once, with back-off, in tasks of their own.

A task a channel: a mail server that hangs does not hold up Slack.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from trunkline.streams.alerts.channels import Channel, ChannelError
from trunkline.streams.alerts.notification import Notification
from trunkline.tasks import awaited_cancellation_fails, backoff

log = logging.getLogger(__name__)

LONGEST_PAUSE = 300.0
"""Seconds between two attempts of a channel at the most."""


class _Pending(NamedTuple):
    notification: Notification
    on_sent: Callable[[], None]


class Outbox:
    """Notifications that are not sent yet: each channel takes them in order, and is asked again
    until it succeeds. For the event loop.

    ``first``: seconds before the second attempt; the pause doubles, up to five minutes.
    """

    def __init__(self, channels: Sequence[Channel], *, first: float = 1.0) -> None:
        self._first = first
        self._queues = [(channel, asyncio.Queue[_Pending]()) for channel in channels]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send."""
        self._tasks = [
            asyncio.create_task(self._send_all(channel, queue), name=f"alerts-{channel.name}")
            for channel, queue in self._queues
        ]

    def post(self, notification: Notification, on_sent: Callable[[], None]) -> None:
        """Send by every channel; ``on_sent`` is called once for each that took it.

        Whatever becomes of it, the notification is in the log, as an error. Without any channel
        the log is the channel.
        """
        level = logging.WARNING if notification.state == "resolved" else logging.ERROR
        text = notification.text.replace("\n", "; ")
        log.log(level, "alert: %s", text, extra={"alert": notification.id})
        for _, queue in self._queues:
            queue.put_nowait(_Pending(notification, on_sent))
        if not self._queues:
            on_sent()

    async def stop(self, grace: float = 5.0) -> None:
        """Give the channels ``grace`` seconds more. What no channel has taken by then, another
        worker sends, or this one after its next start."""
        sent = asyncio.gather(*(queue.join() for _, queue in self._queues))
        try:
            await asyncio.wait_for(sent, grace if self._tasks else 0)
        except TimeoutError:
            log.error("alerts that not every channel took are left behind; they are in this log")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send_all(self, channel: Channel, queue: asyncio.Queue[_Pending]) -> None:
        while True:
            notification, on_sent = await queue.get()
            await self._send_until_taken(channel, notification)
            on_sent()
            queue.task_done()

    async def _send_until_taken(self, channel: Channel, notification: Notification) -> None:
        for pause in backoff(self._first, LONGEST_PAUSE):
            try:
                with awaited_cancellation_fails():
                    await channel.send(notification)
                return
            except Exception as error:  # whatever it is, the notification stays pending
                known = isinstance(error, ChannelError)
                log.error(
                    "alert %r is not sent by %s yet, again in %.0f s: %s",
                    notification.headline,
                    channel.name,
                    pause,
                    error,
                    exc_info=None if known else error,
                )
            await asyncio.sleep(pause)
