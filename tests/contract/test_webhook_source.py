"""WebhookSource passes the acceptance suite."""

from __future__ import annotations

import aiohttp

from trunkline.connectors.base import PushSource
from trunkline.connectors.contract import PushSourceContract
from trunkline.connectors.webhook import WebhookSource


class TestWebhookSource(PushSourceContract):
    def source(self) -> WebhookSource:
        return WebhookSource(port=0, key="id", token="s3cret")

    async def push(self, source: PushSource, key: str, message: str) -> bool:
        assert isinstance(source, WebhookSource)
        headers = {"Authorization": "Bearer s3cret", "Idempotency-Key": message}
        url = f"http://127.0.0.1:{source.port}/"
        try:
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.post(url, json={"id": key}) as answer,
            ):
                return answer.status == 202
        except aiohttp.ClientConnectionError:
            return False
