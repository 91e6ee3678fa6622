"""Tasks that cannot die silently."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any


def supervised_task(
    work: Coroutine[Any, Any, None], name: str, failed: Callable[[BaseException], None]
) -> asyncio.Task[None]:
    """Run ``work`` as a task; an error that ends it is given to ``failed``, a cancellation not."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            failed(failure)

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task


def backoff(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each further try, for ever: doubling from ``first`` up to
    ``longest``."""
    delay = first
    while True:
        yield delay
        delay = min(delay * 2, longest)
