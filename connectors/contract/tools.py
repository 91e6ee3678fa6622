"""What the suites share: events, skipping, and counting what a connector leaves behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from trunkline.errors import DataError, DeliveryError, MissingExtra, TrunklineError
from trunkline.event import Change, Event, Record, event_headers
from trunkline.naming import inbox

PATIENCE = 20.0
"""Seconds after which something that should have happened has not."""
SETTLING = 5.0
"""Seconds for the system under test to let go of what the connector has left."""


def make_event(
    key: str,
    data: Any = None,
    *,
    change: Change = "update",
    id: str = "",
    topic: str = inbox("contract", "sink"),
    partition: int = 0,
    offset: int = 0,
    type: str = "contract.item",
) -> Event[Any]:
    """An event as the engine hands it to a sink; ``data`` None: it carries only its key."""
    record = Record(key=key, data={}, change=change, id=id or str(uuid.uuid4()))
    return Event(
        key=key,
        value=None if data is None else b"contract",
        headers=event_headers(record, source="contract", type=type),
        decode=lambda _: data,
        topic=topic,
        partition=partition,
        offset=offset,
    )


def skip(reason: str) -> NoReturn:
    """Skip this test, visibly. Raises MissingExtra without pytest."""
    try:
        import pytest
    except ImportError as error:
        raise MissingExtra("the acceptance suite of connectors", "dev") from error
    pytest.skip(reason)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run one test's coroutine, for a limited time."""
    asyncio.run(asyncio.wait_for(coroutine, 2 * PATIENCE))


async def failure_of(call: Coroutine[Any, Any, object]) -> TrunklineError | None:
    """The error that ``call`` raises to tell the engine something, None if it succeeds."""
    try:
        await call
    except (DeliveryError, DataError) as error:
        return error
    return None


def leaves_nothing(use: Callable[[], object]) -> None:
    """Assert that ``use`` leaves no thread and no open file or socket.

    The first use may open what a process opens once; the second must not leave more. The system
    under test may live in this process and take a moment to see that the connector has gone.
    """
    use()
    threads, files = _held()
    use()
    deadline = time.monotonic() + SETTLING
    while not _within(threads, files) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = _held()
    assert left[0] <= threads, f"threads left running: {threading.enumerate()}"
    assert left[1] <= files, f"{left[1] - files} files or sockets left open"


def _within(threads: int, files: int) -> bool:
    held = _held()
    return held[0] <= threads and held[1] <= files


def _held() -> tuple[int, int]:
    gc.collect()
    return threading.active_count(), len(os.listdir("/dev/fd"))
