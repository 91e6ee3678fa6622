"""A worker that uses all of a limit that it gets: ``quota_worker.py bootstrap topic rate calls``.

Prints ``ready`` once it has sent something, then the time of each event. Ends with its stdin.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from trunkline.params import Backbone
from trunkline.streams.admission.gate import NEVER
from trunkline.streams.quota.client import QuotaClient
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.limiter import QuotaGate


async def send_all(gate: QuotaGate, changed: asyncio.Event) -> None:
    """Send whenever there is room, one event a call, which ends at once."""
    loop = asyncio.get_running_loop()
    while True:
        now = loop.time()
        if gate.permits(now) > 0:
            permit = gate.acquire(now, 1)
            os.write(1, f"{time.monotonic():.6f}\n".encode())
            permit.finish(now, 1, None)
            continue
        changed.clear()
        wait = gate.retry_at(now) - now
        try:
            await asyncio.wait_for(changed.wait(), None if wait == NEVER else wait + 0.001)
        except TimeoutError:
            continue


async def main(bootstrap: str, topic: str, rate: str, calls: str) -> None:
    """Until stdin ends."""
    quota, changed = QuotaClient(Backbone(bootstrap=bootstrap), topic=topic), asyncio.Event()
    whole = Share(float(rate), int(calls) or None)
    gate = quota.limit("system/erp", whole, who=f"test.{os.getpid()}")
    gate.on_capacity = changed.set
    await quota.start()
    sending = asyncio.create_task(send_all(gate, changed))
    await asyncio.to_thread(sys.stdin.read)
    sending.cancel()
    await quota.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
