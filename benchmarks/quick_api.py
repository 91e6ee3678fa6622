"""The system of the gateway job: an HTTP API that answers at once.

``python -m benchmarks.quick_api PORT``. A bare asyncio protocol: whoever is measured shares the
machine with it.
"""

from __future__ import annotations

import asyncio
import sys

BODY = b'{"revision": 7, "seen": true}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One client's connection: one request after the other, no chunked bodies."""

    def __init__(self) -> None:
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._to = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.find(LENGTH)
            length = int(head[at + len(LENGTH) :].split(None, 1)[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            self._read = self._read[end + 4 + length :]
            self._to.write(ANSWER)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
