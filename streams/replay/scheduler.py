"""Running the jobs that a worker should have: a few at a time, each until it is over."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from confluent_kafka import KafkaException

from trunkline.errors import RegistryUnavailable
from trunkline.kafka import KafkaUnavailable
from trunkline.kafka.offsets import Partition
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.replay.factory import JobFactory, RequestRefused
from trunkline.streams.replay.job import Job, JobEnded, PartitionJob
from trunkline.streams.replay.registry import ReplayRegistry
from trunkline.streams.replay.request import Request
from trunkline.streams.replay.slots import JobSlots
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

COOL_DOWN = 1.0
"""Seconds before a job begins anew that failed, was refused, or wrote that its request is done."""
TRANSIENT = (KafkaException, KafkaUnavailable, RegistryUnavailable)
"""Failures after which a job begins anew."""


class JobScheduler:
    """Begins the jobs that are wanted and ends those that are not. For the event loop only.

    The life of a job:

    1. ``reconcile`` finds that it is wanted, and makes a task of it.
    2. One about dead letters waits for the lock of its partition, and then each for a slot: so none
       waits in a slot for another job that has lent its own.
    3. The job is made, or its request refused.
    4. It runs until it is done, stopped, or fails; while it is held, others have its slot.
    5. After a cool-down ``changed`` is set: the next ``reconcile`` begins it anew if it is still
       wanted.

    ``slots``: those that its jobs lend. ``changed``: set when ``reconcile`` should be called.
    ``on_failure``: told what must end the worker.
    """

    def __init__(
        self,
        factory: JobFactory,
        registry: ReplayRegistry,
        control: ControlTopic,
        slots: JobSlots,
        changed: asyncio.Event,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._factory = factory
        self._registry = registry
        self._control = control
        self._slots = slots
        self._changed = changed
        self._on_failure = on_failure
        self._jobs: dict[ReplayKey, Job] = {}
        self._begun: set[ReplayKey] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._locks: defaultdict[tuple[str, Partition], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stopping = False

    def reconcile(self, wanted: Mapping[ReplayKey, Request], epoch: int) -> None:
        """Begin the jobs that are missing; stop those that nobody wants, or of another epoch.

        ``epoch``: of the assignment now.
        """
        for key, job in self._jobs.items():
            if key not in wanted or job.epoch != epoch:
                job.stop()
        for key, request in wanted.items():
            if key not in self._begun and not self._stopping:
                self._begin(key, request)

    def on_routed(self, batch: MicroBatch) -> None:
        """Tell each job of the records of its partition, which are routed and committed."""
        if not self._jobs:  # the way of every live batch
            return
        jobs: dict[tuple[str | None, int | None], list[Job]] = {}
        for job in self._jobs.values():
            jobs.setdefault(job.partition, []).append(job)
        for message in batch.messages:
            for job in jobs.get((message.topic(), message.partition()), ()):
                job.on_routed(message)

    async def stop(self) -> None:
        """End all jobs; chunks that are under way are finished."""
        self._stopping = True
        for job in self._jobs.values():
            job.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, key: ReplayKey, request: Request) -> None:
        name = f"{request.kind}-{request.id}"
        task = supervised_task(self._run(key, request), name, self._on_failure)
        self._begun.add(key)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: ReplayKey, request: Request) -> None:
        """Steps 2 to 5 of a job's life."""
        # A completion is wanted until what it wrote comes back through the control topic.
        cool_down = COOL_DOWN if key.partition is None else 0.0
        try:
            async with self._lock(key, request), self._slots.slot():
                await self._run_job(key, request)
        except JobEnded:
            pass
        except TRANSIENT as failure:
            log.warning("%s %s begins anew: %s", request.kind, request.id, failure)
            cool_down = COOL_DOWN
        except RequestRefused as refusal:
            await self._refuse(request, str(refusal))
            cool_down = COOL_DOWN
        finally:
            self._jobs.pop(key, None)
            asyncio.get_running_loop().call_later(cool_down, self._cooled_down, key)

    def _cooled_down(self, key: ReplayKey) -> None:
        self._begun.discard(key)
        self._changed.set()

    async def _run_job(self, key: ReplayKey, request: Request) -> None:
        job = await self._factory.create(key, request)
        # Asked after the job has its epoch. If the partition goes away later, the epoch is another
        # one, and the job's transactions are refused; if it went before, we see that here.
        if self._stopping or job.partition not in self._registry.owned:
            return
        self._jobs[key] = job
        self._changed.set()  # while it was made, it may have been cancelled
        log.info("%s %s: %s begins", request.kind, request.id, key.partition or "completion")
        await job.run()
        if isinstance(job, PartitionJob):
            self._registry.on_progress(key, job.progress)

    def _lock(self, key: ReplayKey, request: Request) -> AbstractAsyncContextManager[object]:
        """The lock of the dead letters that a job is about, if it is about any."""
        # Two re-drives of one destination, asked for at once: the second must find what the first
        # has handled, which it reads when it begins. Else both would send the same letter.
        if request.kind == "replay" or key.partition is None:
            return nullcontext()
        return self._locks[request.destination, key.partition]

    async def _refuse(self, request: Request, reason: str) -> None:
        log.error("%s %s is refused: %s", request.kind, request.id, reason)
        current = self._registry.request(request.id)
        if current is None:
            return
        refused = current.with_state("refused", reason=reason)
        try:
            await self._control.put(refused.record_key, refused.to_record())
        except KafkaUnavailable as error:
            log.warning("that could not be written yet: %s", error)
