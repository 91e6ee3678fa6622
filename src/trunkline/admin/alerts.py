"""Whether alerts reach people: a test message through each channel."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from trunkline.streams.alerts.channels import Channel, ChannelError
from trunkline.streams.alerts.notification import Notification, sample_notification
from trunkline.streams.alerts.settings import AlertSettings


@dataclass(frozen=True, slots=True)
class ChannelTest:
    """What came of a test message. ``failure``: why it was not sent, "" if it was."""

    channel: str
    failure: str


def send_test_alert(settings: AlertSettings) -> list[ChannelTest]:
    """Send a test message through every channel of the settings, all at once; [] if there is none.

    Blocks until each has answered or given up. Writes nothing into Kafka: a test is no alert. A
    channel that fails is in the result, and raises nothing.
    """
    channels, message = settings.channels(), sample_notification(round(time.time(), 3))
    return asyncio.run(_send_all(channels, message))


async def _send_all(channels: list[Channel], message: Notification) -> list[ChannelTest]:
    return list(await asyncio.gather(*(_send(channel, message) for channel in channels)))


async def _send(channel: Channel, message: Notification) -> ChannelTest:
    try:
        await channel.send(message)
    except ChannelError as error:
        return ChannelTest(channel.name, str(error))
    return ChannelTest(channel.name, "")
