"""The Faust app of a flow: a queue from each poll loop to its step, and the worker's web pages.

That is all that Faust serves as: agents over channels are the queues, web views are ``/healthz``,
``/readyz`` and ``/metrics``. Its Kafka consumer and producer stay off; acknowledgement,
transactions and rebalances are ours (``kafka/poll_loop.py``, ``route/step.py``,
``deliver/step.py``), and each micro-batch reaches its agent whole. An idle app takes about 55 MB
and next to no CPU.

This is the only module that imports Faust. To put something else in its place, give a queue with
``put`` (from any thread) and ``consume`` (in the event loop), and serve the pages; how little that
is shows ``testing/worker.py``, where an ``asyncio.Queue`` does it.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from aiohttp.web import Response
from faust.app.base import BootStrategy
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from trunkline.errors import ConfigurationError
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.metrics import Metrics
from trunkline.tasks import PART, awaited_cancellation_fails

log = logging.getLogger(__name__)


class _Boot(BootStrategy):
    """Everything of Faust but its Kafka clients."""

    enable_kafka = False


class App(faust.App):
    """A Faust app that takes its input from channels only."""

    BootStrategy = _Boot
    # Else its lines would stand under the name of this module, at a level that is not Faust's.
    logger = logging.getLogger("faust.app")

    def _new_consumer(self) -> Any:
        # Streams ask for one, which never runs: nobody else would close its thread's loop.
        consumer: Any = super()._new_consumer()
        consumer._thread.thread_loop.close()
        return consumer


class BatchQueue:
    """Micro-batches on their way from a poll loop's thread to a step in the event loop.

    A Faust channel, and from ``consume`` on the agent that empties it.
    """

    def __init__(
        self,
        app: App,
        name: str,
        *,
        part: tuple[str, str],
        loop: asyncio.AbstractEventLoop,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._app = app
        self._part = part
        self._name = name
        self._loop = loop
        self._fail = fail
        self._channel = app.channel()

    def put(self, batch: MicroBatch) -> None:
        """Append a batch. From any thread."""
        asyncio.run_coroutine_threadsafe(self._channel.send(value=batch), self._loop)

    def consume(self, process: Callable[[MicroBatch], Awaitable[None]]) -> None:
        """Have each batch processed, one after the other, once the app's agents are started.

        An error that ``process`` lets through ends the worker: the next one repeats what was under
        way. Faust alone would log it and go on with the next batch, whose commit skips this one
        (faust-streaming/faust#315).
        """

        async def agent(stream: Any) -> None:
            PART.set(self._part)  # what it logs, and whatever it starts, is about that part
            async for batch in stream:
                try:
                    # Faust would take a cancellation for a rebalance, and begin a new agent with
                    # the next batch.
                    with awaited_cancellation_fails():
                        await process(batch)
                except Exception as failure:
                    log.exception("agent %s failed", self._name)
                    self._fail(failure)

        self._app.agent(self._channel, name=self._name)(agent)


class FlowApp:
    """The Faust app of one flow in one worker. ``port``: of the web views; None turns them off."""

    def __init__(self, name: str, metrics: Metrics, *, host: str, port: int | None) -> None:
        self.metrics = metrics
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._address = f"{host}:{port}"
        self._app = App(
            f"trunkline-{name}",
            broker="kafka://unused",
            datadir=tempfile.gettempdir(),
            web_enabled=port is not None,
            web_bind=host,
            web_host=host,
            web_port=port or 6066,  # Faust takes no 0, even where web views are off
        )

    def queue(self, name: str, part: tuple[str, str] = ("", "")) -> BatchQueue:
        """A queue from a poll loop's thread to a step; ``name`` is for Faust's and our logs,
        ``part`` as of ``working_for``. From any thread: steps are assembled in one of their own."""
        return BatchQueue(self._app, name, part=part, loop=self._loop, fail=self.fail)

    def page(self, path: str, view: Callable[[], tuple[int, bytes, str]]) -> None:
        """A web view: status, body and content type."""

        async def answer(web: Any, request: Any) -> Any:
            del web, request
            status, body, content_type = view()
            return Response(status=status, body=body, headers={"Content-Type": content_type})

        self._app.page(path, name=path.strip("/"))(answer)

    def metrics_page(self, refresh: Callable[[], None]) -> None:
        """``/metrics`` in Prometheus' text format; ``refresh`` updates the gauges before."""

        def view() -> tuple[int, bytes, str]:
            refresh()
            return 200, generate_latest(self.metrics.registry), CONTENT_TYPE_LATEST

        self.page("/metrics", view)

    def fail(self, failure: BaseException) -> None:
        """End the worker with this error."""
        # The first one counts: those that follow may come of it.
        if not self.failed.done():
            self.failed.set_result(failure)

    async def start(self) -> None:
        """Start the web views. Raises ConfigurationError if their port is taken."""
        try:
            await self._app.start()
        except OSError as error:
            raise ConfigurationError(
                f"the health pages cannot be served at {self._address}: {error.strerror}; "
                "give a free port (--port)"
            ) from error

    async def start_agents(self) -> None:
        """Start the agents that there are now."""
        for agent in self._app.agents.values():
            await agent.maybe_start()
        # Without a Kafka consumer nobody else says that values may flow.
        self._app.flow_control.resume()

    async def stop(self) -> None:
        """Stop them."""
        await self._app.stop()
