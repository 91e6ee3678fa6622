"""The status of an answer, however the network cuts its first line."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.client_proto import ResponseHandler

from trunkline.connectors.http.client import Protocol

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize("cut", range(1, len(ANSWER)))
def test_a_status_line_in_two_pieces_is_read_whole(
    cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResponseHandler, "data_received", lambda self, data: None)

    async def received() -> int:
        protocol = Protocol(asyncio.get_running_loop())
        protocol._head = bytearray()
        for piece in (ANSWER[:cut], ANSWER[cut:]):
            protocol.data_received(piece)
        return protocol.status

    assert asyncio.run(received()) == 204
