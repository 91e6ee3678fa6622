"""Tasks that cannot die silently, the pauses between tries, and whose work is done.

An asyncio task whose error nobody asks for is logged when it is collected, which may be never: a
worker would go on with no reader of its control topic, and look well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

FLOW: ContextVar[str] = ContextVar("FLOW", default="")
"""The flow whose work this is, in a process that runs several: log lines name it."""

PART: ContextVar[tuple[str, str]] = ContextVar("PART", default=("", ""))
"""For which part of its flow something works, so that log lines name it: ``source``,
``destination`` or ``step``, and the name."""


@contextmanager
def working_for(kind: str, name: str) -> Iterator[None]:
    """What is logged within is about this part of a flow; also by tasks that are made within."""
    token = PART.set((kind, name))
    try:
        yield
    finally:
        PART.reset(token)


def inheriting(work: Callable[..., object]) -> Callable[..., object]:
    """``work`` for a new thread, in the context of whoever asks now. Tasks inherit a context by
    themselves, threads do not (before Python 3.14)."""
    return partial(copy_context().run, work)


def naming_flow() -> Callable[[], None]:
    """An ``initializer`` for the threads of an executor: they work for the flow that asks now."""
    flow = FLOW.get()

    def name() -> None:
        FLOW.set(flow)

    return name


def supervised_task(
    work: Coroutine[Any, Any, None], name: str, failed: Callable[[BaseException], None]
) -> asyncio.Task[None]:
    """Run ``work`` as a task, and call ``failed`` with the error that ends it, if one does.

    ``failed`` is called in the event loop. A cancellation that somebody has asked of the task is no
    error; one that came out of what it awaits is told as a RuntimeError.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            if (failure := task.exception()) is not None:
                failed(failure)
        elif not task.cancelling():  # nobody asked for it: see ``awaited_cancellation_fails``
            failed(RuntimeError(f"what the task {name} awaited was cancelled"))

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task


class _AwaitedCancellationFails:
    """See ``awaited_cancellation_fails``. Around each call of a sink: a generator with
    ``contextmanager`` took four times as long."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                raise RuntimeError("what was awaited was cancelled") from error


_AWAITED_CANCELLATION_FAILS = _AwaitedCancellationFails()


def awaited_cancellation_fails() -> AbstractContextManager[None]:
    """Around what is another's to await: a cancellation that nobody has asked of the current task
    raises RuntimeError.

    Case: a pool is closed while a sink waits for one of its connections. Taken for a cancellation
    of the sender it would end that, and nobody would hear of it: to asyncio that is no error.
    """
    return _AWAITED_CANCELLATION_FAILS


def backoff(first: float, longest: float) -> Iterator[float]:
    """Yield the seconds to wait before each further try, for ever: ``first``, then twice as many
    each time, up to ``longest``."""
    delay = first
    while True:
        yield delay
        delay = min(delay * 2, longest)
