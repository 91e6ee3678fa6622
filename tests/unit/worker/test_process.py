"""A worker's process: what becomes of steps that cannot start."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from trunkline import Flow, Params
from trunkline.params import Backbone
from trunkline.streams.deliver.step import DeliveryStep
from trunkline.streams.worker.process import Options, Worker


class Step:
    """``start`` does what a test says."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.stopped = False

    async def start(self) -> None:
        raise self.error

    async def stop(self) -> None:
        self.stopped = True


async def nothing() -> None:
    pass


def ended_by(step: Step) -> BaseException:
    """What a worker with this step ends with, without any Kafka."""
    worker: Any = Worker(Flow("start", Params), Params(), Backbone(), Options())
    worker._access = SimpleNamespace(
        start=lambda: None, stop=lambda: None, reason="", seen=True, failure=None
    )
    worker._assembly = SimpleNamespace(begin=nothing, end=nothing, parts=[], tables=None)
    worker._ensure_topics = lambda: None
    worker._assembled = lambda app: [step]
    with pytest.raises((RuntimeError, LookupError)) as caught:
        asyncio.run(asyncio.wait_for(worker.run(asyncio.Event()), 30))
    assert step.stopped
    return caught.value


def test_it_is_told_when_the_worker_is_ready_and_when_it_is_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    worker: Any = Worker(Flow("shop", Params), Params(), Backbone(), Options(port=8086))
    found = [(503, b'{"ready":false}'), (200, b""), (200, b""), (503, b'{"reason":"no rights"}')]
    for status, body in [*found, found[-1], (200, b"")]:
        worker._readiness = lambda told=(status, body, ""): told
        worker._log_readiness()
    ready = "shop is ready: source, route, deliver; health pages at http://127.0.0.1:8086"
    assert caplog.messages == [ready, 'shop is not ready: {"reason":"no rights"}', ready]


def test_deliveries_have_what_the_steps_before_them_left_of_the_drain() -> None:
    """SIGKILL counts from SIGTERM: a route that took 20 s of 75 leaves them 55."""
    given: list[float] = []

    class Delivery(DeliveryStep):
        def __init__(self) -> None:
            pass

        async def stop(self, *, within: float | None = None) -> None:
            given.append(within or 0.0)

    async def end() -> None:
        worker: Any = Worker(Flow("end", Params), Params(), Backbone(), Options())
        worker._steps = [Delivery(), Step(RuntimeError())]
        for since in (20.0, 80.0):
            worker.ending_since = asyncio.get_running_loop().time() - since
            await worker._stop_steps(within=75.0)

    asyncio.run(end())
    assert given == [pytest.approx(55.0, abs=5.0), 0.0]


def test_a_start_that_fails_ends_the_worker() -> None:
    assert str(ended_by(Step(LookupError("no such thing")))) == "no such thing"


def test_a_start_whose_own_await_is_cancelled_ends_the_worker() -> None:
    """By a pool that is closed, say. To asyncio that is no error: the worker would run on, without
    that step and those beside it, and never be ready."""
    error = ended_by(Step(asyncio.CancelledError()))
    assert str(error) == "what the task start awaited was cancelled"
