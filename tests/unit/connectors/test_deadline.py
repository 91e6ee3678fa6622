"""The deadline that many calls share: who is late is cancelled, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any, TypeVar

import pytest

from trunkline.connectors.http.deadline import Deadline
from trunkline.testing.loop import VirtualLoop

T = TypeVar("T")


def run(scene: Coroutine[Any, Any, T]) -> T:
    """In virtual time, so that nothing is late by chance."""
    with closing(VirtualLoop()) as loop:
        return loop.run(scene)


async def kept(deadline: Deadline, work: Callable[[], Awaitable[object]]) -> object:
    with deadline.kept():
        return await work()


def test_what_is_late_raises_and_what_is_in_time_does_not() -> None:
    async def scene() -> list[object]:
        deadline = Deadline(0.02)
        never = asyncio.Event()
        calls = [kept(deadline, never.wait), kept(deadline, lambda: asyncio.sleep(0, "done"))]
        return await asyncio.gather(*calls, return_exceptions=True)

    late, done = run(scene())
    assert isinstance(late, TimeoutError)
    assert done == "done"


def test_each_call_has_its_own_time() -> None:
    async def scene() -> list[float]:
        deadline, loop = Deadline(0.03), asyncio.get_running_loop()
        lasted = []
        for pause in (0.0, 0.01, 0.02):
            await asyncio.sleep(pause)
            began = loop.time()
            with pytest.raises(TimeoutError):
                await kept(deadline, asyncio.Event().wait)
            lasted.append(loop.time() - began)
        return lasted

    assert run(scene()) == pytest.approx([0.03, 0.03, 0.03])


def test_a_younger_call_outlives_an_older_one() -> None:
    async def scene() -> tuple[bool, bool]:
        deadline = Deadline(0.05)
        old = asyncio.create_task(kept(deadline, asyncio.Event().wait))
        await asyncio.sleep(0.03)
        young = asyncio.create_task(kept(deadline, lambda: asyncio.sleep(0.04)))
        await asyncio.wait([old, young])
        return isinstance(old.exception(), TimeoutError), young.exception() is None

    assert run(scene()) == (True, True)


def test_a_cancellation_by_others_passes_through() -> None:
    async def scene() -> bool:
        task = asyncio.create_task(kept(Deadline(60), asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert run(scene())


def test_a_cancellation_by_others_wins_over_being_late() -> None:
    async def scene() -> bool:
        deadline = Deadline(0.01)
        task: asyncio.Task[object] = asyncio.create_task(kept(deadline, asyncio.Event().wait))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.005, task.cancel)
        await asyncio.wait([task])
        return task.cancelled()

    assert run(scene())


def test_a_task_that_was_late_goes_on_unharmed() -> None:
    async def ends_otherwise() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("given up") from None

    async def scene() -> int:
        deadline = Deadline(0.01)
        with pytest.raises(ConnectionError):
            await kept(deadline, ends_otherwise)
        with pytest.raises(TimeoutError):
            await kept(deadline, asyncio.Event().wait)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run(scene()) == 0
