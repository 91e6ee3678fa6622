"""How the interpreter of a process that serves Kafka is set up: its event loop, its threads, its
garbage collector."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable


def event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop where it is installed (``trunkline[fast]``), else None, for
    asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def tune_interpreter() -> None:
    """Set the garbage collector and the switching of threads for what workers and gateways do."""
    # Micro-batches make thousands of short-lived objects without cycles. At the default threshold
    # of 700 the collector walked them again and again, for a quarter of routing's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    # A thread that comes back from Kafka waits for a busy event loop to let it go on: 5 ms by
    # default, several times a transaction.
    sys.setswitchinterval(0.0005)
