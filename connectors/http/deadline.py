"""One time limit for many calls side by side, at the cost of one timer.

A timer a call, as ``asyncio.timeout`` and aiohttp's own limit have, is a tenth of what an HTTP
request costs. Here all calls may last equally long, so they are late in the order in which they
began, and only the oldest needs a timer.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class Deadline:
    """Lets calls last ``seconds`` at the most. For one event loop.

    ``with deadline.kept():`` around what a task awaits raises TimeoutError after that time. As
    with ``asyncio.timeout`` the task is cancelled to that end, and a cancellation by anybody else
    passes through. A task may keep a deadline once at a time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[asyncio.Task[Any], float] = {}  # in the order in which they began
        self._watched = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def kept(self) -> _Kept:
        """A context manager that keeps it in the current task."""
        if self._loop is None:  # asked for once: until Python 3.12 each time is a system call
            self._loop = asyncio.get_running_loop()
        return _Kept(self, self._loop)

    def begin(self, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
        """The task's time runs from now."""
        self._ends[task] = loop.time() + self._seconds
        if not self._watched:
            self._watch(loop)

    def end(self, task: asyncio.Task[Any]) -> bool:
        """The task is through; whether it was late, and so cancelled."""
        return self._ends.pop(task, None) is None

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Come back when the oldest call must end, if there is one."""
        self._watched = bool(self._ends)
        if self._watched:
            loop.call_at(next(iter(self._ends.values())), self._cancel_late, loop)

    def _cancel_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = [task for task, end in self._ends.items() if end <= now]
        for task in late:
            del self._ends[task]
            task.cancel()
        self._watch(loop)


class _Kept:
    """One task's time: what ``asyncio.Timeout`` does, but for the timer."""

    __slots__ = ("_before", "_deadline", "_loop", "_task")

    def __init__(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline can be kept only in a task")
        self._deadline = deadline
        self._loop = loop
        self._task = task
        self._before = task.cancelling()

    def __enter__(self) -> None:
        self._deadline.begin(self._task, self._loop)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._deadline.end(self._task):
            return
        if self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error
