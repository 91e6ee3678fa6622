"""What comes of test messages, of a channel that takes them and of one that does not."""

from __future__ import annotations

import pytest

from trunkline.admin.alerts import ChannelTest, send_test_alert
from trunkline.streams.alerts.channels import Channel, ChannelError
from trunkline.streams.alerts.notification import Notification
from trunkline.streams.alerts.settings import AlertSettings


class Pager:
    """A channel that keeps what it is sent, or refuses it."""

    def __init__(self, name: str, refusal: str = "") -> None:
        self.name = name
        self.sent: list[Notification] = []
        self._refusal = refusal

    async def send(self, notification: Notification) -> None:
        if self._refusal:
            raise ChannelError(self._refusal)
        self.sent.append(notification)


def test_each_channel_is_tried_and_one_that_fails_hinders_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, pager = Pager("broken", "answers 500"), Pager("pager")
    made: list[Channel] = [broken, pager]
    monkeypatch.setattr(AlertSettings, "channels", lambda self: made)
    results = send_test_alert(AlertSettings())
    assert results == [ChannelTest("broken", "answers 500"), ChannelTest("pager", "")]
    assert len(pager.sent) == 1


def test_without_a_channel_nothing_is_sent() -> None:
    assert send_test_alert(AlertSettings()) == []
