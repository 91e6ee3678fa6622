"""An event loop whose clock jumps: when nothing is ready, it is the time of the next timer.

So ten minutes of waiting take no time, and what happens when is exact and the same in each run.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

NEVER = float("inf")


class _Jumping(selectors.SelectSelector):
    """The part of an event loop that waits for I/O and timers; this one waits for nothing.

    It calls ``idle`` when nothing is ready, with the seconds until the next timer, or None if there
    is none: so the loop can set its clock to then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.idle: Callable[[float | None], None] = lambda timeout: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing, ever: no time is left for I/O."""
        if timeout is None or timeout > 0:
            self.idle(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, without I/O and threads. ``start``: the wall clock at its
    beginning, in epoch seconds.

    What would run in a thread runs at once. A task that waits for what no timer and no other task
    brings about (a socket, say) raises RuntimeError out of ``run_until_complete``.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.start = start
        self._now = 0.0
        self._end = NEVER
        self.mistakes: list[BaseException] = []
        """What callbacks raised, which an event loop only logs."""
        selector = _Jumping()
        super().__init__(selector)
        # asyncio runs what is due within this; a smaller one is lost in the digits of a year.
        self._clock_resolution = 1e-6
        selector.idle = self._jump
        self.set_exception_handler(self._mistaken)

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def clock(self) -> float:
        """The wall clock, in epoch seconds."""
        return self.start + self._now

    def run_for(self, seconds: float) -> None:
        """Run everything that happens in so many seconds, to the very last moment; 0 runs what
        happens just now."""
        self._end = self._now + seconds
        try:
            self.run_forever()
        finally:
            self._end = NEVER

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns or raises."""
        return self.run_until_complete(work)

    def run_in_executor(  # type: ignore[override]  # as asyncio's, but for its TypeVarTuple
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call it now, in this thread."""
        del executor
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as failure:  # noqa: BLE001 - raised where it is awaited
            future.set_exception(failure)
        return future

    def close(self) -> None:
        """Cancel what still runs, and release everything."""
        if not self.is_closed():
            self.run_until_complete(_cancelled(asyncio.all_tasks(self)))
        super().close()

    def _jump(self, timeout: float | None) -> None:
        next_timer = NEVER if timeout is None else self._now + timeout
        if next_timer == self._end == NEVER:
            raise RuntimeError("nothing will ever happen: a task waits for I/O, or for nobody")
        self._now = min(next_timer, self._end)
        if next_timer > self._end:
            self.stop()

    def _mistaken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failure = context.get("exception") or RuntimeError(context["message"])
        self.mistakes.append(failure)


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
