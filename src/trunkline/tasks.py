"""Tasks that cannot die silently, and the pauses between tries.

An asyncio task whose error nobody asks for is logged when it is collected, which may be never: a
worker would go on with no reader of its control topic, and look well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any


def supervised_task(
    work: Coroutine[Any, Any, None], name: str, failed: Callable[[BaseException], None]
) -> asyncio.Task[None]:
    """Run ``work`` as a task, and call ``failed`` with the error that ends it, if one does.

    ``failed`` is called in the event loop; a cancellation is no error.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            failed(failure)

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task


def backoff(first: float, longest: float) -> Iterator[float]:
    """Yield the seconds to wait before each further try, for ever: ``first``, then twice as many
    each time, up to ``longest``."""
    delay = first
    while True:
        yield delay
        delay = min(delay * 2, longest)
