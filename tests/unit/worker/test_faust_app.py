"""What Faust serves as: queues from poll loops to steps, and web pages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine_kit import eventually
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.metrics import Metrics
from trunkline.streams.worker.faust_app import FlowApp


def batch(number: int) -> MicroBatch:
    return MicroBatch([], number, None)


def run(
    process: Callable[[MicroBatch], Awaitable[None]], scene: Callable[[FlowApp, Any], Any]
) -> FlowApp:
    async def inside() -> FlowApp:
        app = FlowApp("orders", Metrics(), host="127.0.0.1", port=None)
        queue = await asyncio.to_thread(app.queue, "route")
        await app.start()
        try:
            queue.consume(process)
            await app.start_agents()
            await scene(app, queue)
        finally:
            await app.stop()
        return app

    return asyncio.run(inside())


def test_batches_of_another_thread_are_processed_in_order_one_after_the_other() -> None:
    seen: list[int] = []
    under_way = 0

    async def process(one: MicroBatch) -> None:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await asyncio.sleep(0.001)
        under_way -= 1
        seen.append(one.epoch)

    async def scene(app: FlowApp, queue: Any) -> None:
        await asyncio.to_thread(lambda: [queue.put(batch(number)) for number in range(10)])
        await eventually(lambda: len(seen) == 10, "all are processed")

    assert not run(process, scene).failed.done()
    assert seen == list(range(10))


def test_an_error_that_a_step_lets_through_ends_the_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def process(one: MicroBatch) -> None:
        raise LookupError("a defect")

    async def scene(app: FlowApp, queue: Any) -> None:
        queue.put(batch(1))
        failure = await asyncio.wait_for(app.failed, 5)
        assert isinstance(failure, LookupError)

    run(process, scene)
    assert "agent route failed" in caplog.text


def test_a_cancellation_that_nobody_asked_for_ends_the_worker() -> None:
    """Faust would begin a new agent, whose first commit skips the batch that was under way."""
    seen: list[int] = []

    async def process(one: MicroBatch) -> None:
        seen.append(one.epoch)
        raise asyncio.CancelledError

    async def scene(app: FlowApp, queue: Any) -> None:
        queue.put(batch(1))
        failure = await asyncio.wait_for(app.failed, 5)
        assert "was cancelled" in str(failure)
        assert seen == [1]

    run(process, scene)


def test_the_first_failure_counts() -> None:
    async def process(one: MicroBatch) -> None: ...

    async def scene(app: FlowApp, queue: Any) -> None:
        app.fail(LookupError("first"))
        app.fail(ValueError("second"))

    assert isinstance(run(process, scene).failed.result(), LookupError)
