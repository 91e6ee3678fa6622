"""Replays, re-drives and discards in a worker: what the control topic asks for, for its partitions.

Every worker follows the requests and has a job for each canonical partition that it routes. When
partitions move, jobs end and begin anew where the durable progress says; so they do after any
failure. The events themselves are never in doubt: each chunk is a transaction of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from trunkline.errors import ConfigurationError, DataError
from trunkline.kafka.offsets import Partition
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.control.topic import ControlTopic, Value
from trunkline.streams.replay import scheduler
from trunkline.streams.replay.expiry import expire_requests
from trunkline.streams.replay.factory import JobFactory
from trunkline.streams.replay.job import JobContext
from trunkline.streams.replay.path import DestinationPath
from trunkline.streams.replay.registry import ReplayRegistry
from trunkline.streams.replay.scheduler import JobScheduler
from trunkline.streams.route.step import RoutingListener
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)


class ReplayStep(RoutingListener):
    """The replays of one worker, beside its routing step.

    Whatever changes (a record of the control topic, the assignment, a job that ended) sets
    ``_changed``; ``_run`` then asks the registry which jobs there should be, and has the scheduler
    begin and end them.

    ``topics``: those that the flow routes. ``count_partitions``: how many each topic has; blocks.
    ``path_to``: today's path to the destination of this name; blocks, raises KeyError.
    ``failure``: what ends the worker.
    """

    def __init__(
        self,
        context: JobContext,
        control: ControlTopic,
        topics: Sequence[str],
        *,
        count_partitions: Callable[[], Mapping[str, int]],
        path_to: Callable[[str], DestinationPath],
    ) -> None:
        self._context = context
        self._control = control
        self._count_partitions = count_partitions
        self._changed = asyncio.Event()
        self._registry = ReplayRegistry(topics)
        factory = JobFactory(context, self._registry, topics, path_to)
        self._scheduler = JobScheduler(
            factory, self._registry, control, context.slots, self._changed, self._on_failure
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: BaseException | None = None

    # What the routing step tells.

    def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """As RoutingListener says."""
        self._registry.owned = partitions
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    def on_committed(self, batch: MicroBatch) -> None:
        """As RoutingListener says."""
        self._scheduler.on_routed(batch)

    # The step.

    async def start(self) -> None:
        """Begin; ``control`` has been started."""
        self._loop = asyncio.get_running_loop()
        self._unsubscribe = self._control.subscribe(ReplayKey.PREFIX, self._on_record)
        self._main = supervised_task(self._run(), "replays", self._on_failure)
        self._expiry = supervised_task(
            expire_requests(self._control), "replay-expiry", self._on_failure
        )
        self._changed.set()

    async def stop(self) -> None:
        """End; chunks that are under way are finished."""
        if self._loop is None:
            return
        self._unsubscribe()
        self._main.cancel()
        self._expiry.cancel()
        await self._scheduler.stop()
        await asyncio.gather(self._main, self._expiry, return_exceptions=True)

    def _on_record(self, text: str, value: Value | None) -> None:
        try:
            key = ReplayKey.parse(text)
            if key is None:
                raise DataError("its key is that of no request and of no partition of one")
            self._registry.on_record(key, value)
        except (DataError, ConfigurationError, ValueError) as error:
            log.error("the control record %r is ignored: %s", text, error)
        self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._registry.needs_partition_counts:
                await self._plan()
            self._scheduler.reconcile(self._registry.wanted(), self._context.transactions.epoch)

    async def _plan(self) -> None:
        try:
            self._registry.plan(await asyncio.to_thread(self._count_partitions))
        except scheduler.TRANSIENT as failure:
            log.warning("partitions could not be counted for a request yet: %s", failure)
            asyncio.get_running_loop().call_later(scheduler.COOL_DOWN, self._changed.set)

    def _on_failure(self, failure: BaseException) -> None:
        log.error("replays failed", exc_info=failure)
        self.failure = self.failure or failure
