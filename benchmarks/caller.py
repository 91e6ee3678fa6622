"""Callers of the gateway job: so many at a time, each of which waits for its answer.

``python -m benchmarks.caller PORT PATH KEY CALLERS SECONDS``: writes a JSON of the latencies, in
seconds, and of the time that all took. A bare asyncio client, for the reason of ``quick_api``.
``PATH``: may have ``{id}``, which is another one in each call.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
import uuid
from dataclasses import dataclass, field

WARM_UP = 2.0


@dataclass
class Callers:
    """All of them. ``latencies``: of the calls that began after the warm-up."""

    port: int
    path: str
    key: str
    begin: float
    end: float
    latencies: list[float] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    async def one(self) -> None:
        """A caller, until the time is over. Raises RuntimeError for any answer but 200."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while (began := time.perf_counter()) < self.end:
            id_ = f"{self.run}-{next(self.numbers)}"
            body = json.dumps({"id": id_, "status": "paid", "total_cents": "1999"}).encode()
            head = (
                f"{'POST' if 'operations' in self.path else 'PUT'} {self.path.format(id=id_)} "
                f"HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.key}\r\n"
                f"Idempotency-Key: {id_}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = answer.lower().partition(b"content-length:")[2].split(None, 1)[0]
            text = await reader.readexactly(int(length))
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{answer!r} {text!r}")
            if began >= self.begin:
                self.latencies.append(time.perf_counter() - began)
        writer.close()


async def main(port: str, path: str, key: str, callers: str, seconds: str) -> None:
    begin = time.perf_counter() + WARM_UP
    at_once = Callers(int(port), path, key, begin, begin + float(seconds))
    await asyncio.gather(*(at_once.one() for _ in range(int(callers))))
    print(json.dumps({"latencies": at_once.latencies, "seconds": float(seconds)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
