"""The destination of the deliver, retry and recovery jobs: an HTTP API that answers after 20 ms.

``python -m benchmarks.slow_api PORT [--down-after COUNT --down-for SECONDS] [--fail-first]``: once
it has taken so many requests, it answers 503 for so long; it answers 500 when an event comes for
the first time. ``GET /count`` tells how many it took, ``GET /book`` all that it noted.

A bare asyncio protocol with one timer for all answers, as whoever is measured shares the machine
with it: a request costs a fifth of what a web framework takes.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import deque

import orjson

DELAY = 0.02
"""Seconds until an answer."""
IDS, LENGTH = (b"?id=", b"Idempotency-Key: "), b"Content-Length: "
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
DOWN = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Book:
    """What came, when it was answered, and whether each key's events came one after the other.

    An event's id is ``KEY/NUMBER``, numbered from 0 in its key: ``id`` of the query, or else the
    idempotency key.
    """

    def __init__(self, down_after: int, down_for: float, *, fail_first: bool = False) -> None:
        self._down_after = down_after
        self._down_for = down_for
        self._fail_first = fail_first
        self._failed: dict[bytes, float] = {}
        self._newest: dict[bytes, int] = {}
        self.down_at: float | None = None
        self.up_at: float | None = None
        self.taken: list[tuple[str, float]] = []
        self.refused: list[float] = []
        self.retried: list[tuple[float, float]] = []
        """When an event was answered 500, and when it came again."""
        self.repeats = 0
        self.disordered = 0

    def refuses(self) -> bool:
        """Whether what comes now is answered 503."""
        if self.down_at is None and len(self.taken) >= self._down_after:
            self.down_at = time.time()
            self.up_at = self.down_at + self._down_for
        refused = self.up_at is not None and time.time() < self.up_at
        if refused:
            self.refused.append(time.time())
        return refused

    def fails(self, id: bytes) -> bool:
        """Whether this one is answered 500."""
        if not self._fail_first:
            return False
        if id not in self._failed:
            return True
        self.retried.append((self._failed[id], time.time()))
        return False

    def arrived(self, id: bytes) -> None:
        """An event came: the one before it must have been answered, and it must be new."""
        key, _, number = id.rpartition(b"/")
        expected = self._newest.get(key, -1) + 1
        self.repeats += int(number) < expected
        self.disordered += int(number) > expected

    def answered(self, id: bytes, answer: bytes) -> None:
        """The answer goes out."""
        if answer == OK:
            self._took(id)
        elif answer == FAILED:
            self._failed[id] = time.time()

    def _took(self, id: bytes) -> None:
        key, _, number = id.rpartition(b"/")
        self._newest[key] = max(self._newest.get(key, -1), int(number))
        self.taken.append((id.decode(), time.time()))

    def page(self, path: bytes) -> bytes:
        """What a GET is answered."""
        body = orjson.dumps(len(self.taken) if path == b"/count" else self._all())
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def _all(self) -> dict[str, object]:
        noted = ("taken", "refused", "retried", "down_at", "up_at", "repeats", "disordered")
        return {name: getattr(self, name) for name in noted}


class Answers:
    """Sends each answer when its time has come, in the order in which the requests came."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, asyncio.Transport, bytes, bytes]] = deque()

    def later(self, to: asyncio.Transport, id: bytes, answer: bytes) -> None:
        """Answer this event so."""
        if not self._waiting:
            self._loop.call_later(DELAY, self._send)
        self._waiting.append((self._loop.time() + DELAY, to, id, answer))

    def _send(self) -> None:
        now, waiting = self._loop.time() + 0.0005, self._waiting
        while waiting and waiting[0][0] <= now:
            _, to, id, answer = waiting.popleft()
            self._book.answered(id, answer)
            to.write(answer)
        if waiting:
            self._loop.call_at(waiting[0][0], self._send)


class Connection(asyncio.Protocol):
    """One client's connection: one request at a time, no chunked bodies."""

    def __init__(self, book: Book, answers: Answers) -> None:
        self._book = book
        self._answers = answers
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._to = transport

    def data_received(self, data: bytes) -> None:
        self._read = data = self._read + data if self._read else data
        head = data.find(b"\r\n\r\n")
        if head < 0 or len(data) < head + 4 + int(_field(data, LENGTH) or b"0"):
            return
        self._read = b""
        if data.startswith(b"GET"):
            self._to.write(self._book.page(data.split(b" ", 2)[1]))
        else:
            id = next(filter(None, (_field(data, name) for name in IDS)))
            self._answers.later(self._to, id, self._answer(id))

    def _answer(self, id: bytes) -> bytes:
        if self._book.refuses():
            return DOWN
        if self._book.fails(id):
            return FAILED
        self._book.arrived(id)
        return OK


def _field(data: bytes, name: bytes) -> bytes:
    """What stands behind ``name``, up to the next white space."""
    at = data.find(name)
    return data[at + len(name) :].split(None, 1)[0] if at >= 0 else b""


async def serve(port: int, book: Book) -> None:
    answers = Answers(book)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(book, answers), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_api")
    parser.add_argument("port", type=int)
    parser.add_argument("--down-after", type=int, default=1 << 60)
    parser.add_argument("--down-for", type=float, default=0.0)
    parser.add_argument("--fail-first", action="store_true")
    options = parser.parse_args()
    book = Book(options.down_after, options.down_for, fail_first=options.fail_first)
    asyncio.run(serve(options.port, book))


if __name__ == "__main__":
    main()
