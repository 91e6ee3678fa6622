"""Tasks whose end is noticed, and the pauses between tries."""

from __future__ import annotations

import asyncio
from itertools import islice

from trunkline.tasks import backoff, supervised_task


def ended(*, cancel: bool, error: Exception | None = None) -> list[BaseException]:
    """What a task's owner is told of its end."""
    told: list[BaseException] = []

    async def work() -> None:
        await asyncio.sleep(3600 if cancel else 0)
        if error is not None:
            raise error

    async def run() -> None:
        task = supervised_task(work(), "work", told.append)
        await asyncio.sleep(0)
        if cancel:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(run())
    return told


def test_an_error_that_ends_a_task_is_told() -> None:
    error = LookupError("a defect")
    assert ended(cancel=False, error=error) == [error]


def test_a_task_that_is_done_or_cancelled_has_no_error() -> None:
    assert ended(cancel=False) == ended(cancel=True) == []


def test_a_cancellation_that_nobody_asked_for_is_an_error() -> None:
    """A pool is closed whose connection the task waits for. Untold, the worker would go on without
    the task, and look well."""
    told: list[BaseException] = []

    async def run() -> None:
        connection = asyncio.get_running_loop().create_future()

        async def work() -> None:
            await connection

        task = supervised_task(work(), "commit-erp", told.append)
        await asyncio.sleep(0)
        connection.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert [str(error) for error in told] == ["what the task commit-erp awaited was cancelled"]


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(backoff(0.5, 3.0), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]
