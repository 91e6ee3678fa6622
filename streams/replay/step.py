"""Replays, re-drives and discards in a worker: what the control topic asks for, for its partitions.

Every worker follows the requests and has a job for each canonical partition that it routes. When
partitions move, jobs end and begin anew where the durable progress says; so they do after any
failure. The events themselves are never in doubt: each chunk is a transaction of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

from confluent_kafka import KafkaException

from trunkline.errors import ConfigurationError, DataError, RegistryUnavailable
from trunkline.kafka import KafkaUnavailable
from trunkline.kafka.offsets import Partition
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.control.topic import ControlTopic, Value
from trunkline.streams.dlq.handled import owner_of
from trunkline.streams.replay.completion_job import CompletionJob
from trunkline.streams.replay.expiry import expire_requests
from trunkline.streams.replay.job import Job, JobContext, JobEnded
from trunkline.streams.replay.path import DestinationPath
from trunkline.streams.replay.predicate import Predicate
from trunkline.streams.replay.redrive_job import RedriveJob
from trunkline.streams.replay.replay_job import ReplayJob
from trunkline.streams.replay.request import PartitionProgress, Request
from trunkline.streams.route.step import RoutingListener
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Jobs that run at the same time in a worker; each has a consumer of its own."""
PAUSE = 1.0
"""Seconds after a failure."""
PASSING = (KafkaException, KafkaUnavailable, RegistryUnavailable)
"""Failures after which a job begins anew."""

Key = tuple[str, Partition | None]
"""A job: the request's id and the partition; None: the conclusion."""


class ReplayStep(RoutingListener):
    """The replays of one worker, beside its routing step.

    ``topics``: those that the flow routes. ``partitions``: each topic's partition count; blocks.
    ``way_to``: today's way to the destination of this name; blocks, raises KeyError.
    ``failure``: what ends the worker.
    """

    def __init__(
        self,
        desk: JobContext,
        control: ControlTopic,
        topics: Sequence[str],
        *,
        partitions: Callable[[], Mapping[str, int]],
        way_to: Callable[[str], DestinationPath],
    ) -> None:
        self._desk = desk
        self._control = control
        self._topics = sorted(topics)
        self._partitions = partitions
        self._way_to = way_to
        self._ways: dict[str, DestinationPath] = {}
        self._requests: dict[str, Request] = {}
        self._progress: dict[Key, PartitionProgress] = {}
        self._places: dict[str, list[Partition]] = {}
        self._owned: frozenset[Partition] = frozenset()
        self._jobs: dict[Key, Job] = {}
        self._resting: set[Key] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._partition_locks: defaultdict[tuple[str, Partition], asyncio.Lock] = defaultdict(
            asyncio.Lock
        )
        self._dirty = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self.failure: BaseException | None = None

    # What the routing step tells.

    def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """As RoutingListener says."""
        self._owned = partitions
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._dirty.set)

    def on_committed(self, batch: MicroBatch) -> None:
        """As RoutingListener says."""
        if not self._jobs:
            return
        listening: dict[Any, list[Job]] = {}
        for job in self._jobs.values():
            listening.setdefault(job.place, []).append(job)
        for message in batch.messages:
            for job in listening.get((message.topic(), message.partition()), ()):
                job.on_routed(message)

    # The step.

    async def start(self) -> None:
        """Begin; ``control`` has been started."""
        self._loop = asyncio.get_running_loop()
        self._unsubscribe = self._control.subscribe(ReplayKey.PREFIX, self._changed)
        self._main = supervised_task(self._run(), "replays", self._failed)
        self._tidying = supervised_task(expire_requests(self._control), "tidying", self._failed)
        self._dirty.set()

    async def stop(self) -> None:
        """End; chunks that are under way are finished."""
        if self._loop is None:
            return
        self._unsubscribe()
        self._stopping = True
        self._main.cancel()
        self._tidying.cancel()
        for job in self._jobs.values():
            job.stop()
        await asyncio.gather(self._main, self._tidying, *self._tasks, return_exceptions=True)

    def _changed(self, key: str, value: Value | None) -> None:
        try:
            name = ReplayKey.parse(key)
            if name is None:
                raise DataError("its key is that of no request and of no partition of one")
            if name.partition is not None:
                self._on_progress((name.id, name.partition), PartitionProgress.from_record(value))
            elif value is None:
                self._requests.pop(name.id, None)
            else:
                self._requests[name.id] = Request.from_record(name.id, value)
        except (DataError, ConfigurationError, ValueError) as error:
            log.error("the control record %r is ignored: %s", key, error)
        self._dirty.set()

    def _on_progress(self, key: Key, progress: PartitionProgress) -> None:
        known = self._progress.get(key)
        if known is None or not known.done:  # what we have done ourselves comes back later
            self._progress[key] = progress

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            wanted = await self._wanted()
            self._end_others(wanted)
            for key, request in wanted.items():
                if key not in self._jobs and key not in self._resting:
                    self._begin(key, request)

    async def _wanted(self) -> dict[Key, Request]:
        """The jobs that are to be done here."""
        wanted: dict[Key, Request] = {}
        for request in [r for r in self._requests.values() if r.state == "running"]:
            places = await self._places_of(request)
            left = [place for place in places if not self._is_done(request, place)]
            wanted |= {(request.id, place): request for place in left if place in self._owned}
            if places and not left and places[0] in self._owned:
                wanted[request.id, None] = request
        return wanted

    async def _places_of(self, request: Request) -> list[Partition]:
        """The canonical partitions that have a part in it."""
        if request.id not in self._places:
            if request.kind == "replay":
                places = sorted(request.ranges)
            else:
                counts = await asyncio.to_thread(self._counted)
                places = [(topic, n) for topic in self._topics for n in range(counts[topic])]
            self._places[request.id] = places
        return self._places[request.id]

    def _counted(self) -> Mapping[str, int]:
        counts = self._partitions()
        return {topic: counts.get(topic, 0) for topic in self._topics}

    def _is_done(self, request: Request, place: Partition) -> bool:
        progress = self._progress.get((request.id, place))
        return progress is not None and progress.done

    def _end_others(self, wanted: Mapping[Key, Request]) -> None:
        epoch = self._desk.transactions.epoch
        for key, job in self._jobs.items():
            if key not in wanted or job.epoch != epoch:
                job.stop()

    def _begin(self, key: Key, request: Request) -> None:
        task = supervised_task(
            self._done(key, request), f"{request.kind}-{request.id}", self._failed
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._resting.add(key)

    async def _done(self, key: Key, request: Request) -> None:
        """One job, until it is over; whatever is left is taken up again."""
        pause = PAUSE if key[1] is None else 0.0  # until the control topic says that it is over
        try:
            async with self._slots:
                await self._run_job(key, request)
        except JobEnded:
            pass
        except PASSING as failure:
            log.warning("%s %s begins anew: %s", request.kind, request.id, failure)
            pause = PAUSE
        except _Refused as refusal:
            await self._refuse(request, str(refusal))
            pause = PAUSE
        finally:
            self._jobs.pop(key, None)
            asyncio.get_running_loop().call_later(pause, self._cooling_down, key)

    def _cooling_down(self, key: Key) -> None:
        self._resting.discard(key)
        self._dirty.set()

    async def _run_job(self, key: Key, request: Request) -> None:
        job = await self._job_of(key[1], request)
        if self._stopping or job.place not in self._owned:  # looked at after the job's epoch
            return
        self._jobs[key] = job
        self._dirty.set()  # it may be wanted no more
        async with self._turn(key, request):
            log.info("%s %s: %s begins", request.kind, request.id, key[1] or "its conclusion")
            await job.run()
        if key[1] is not None:
            self._progress[key] = job.progress

    def _turn(self, key: Key, request: Request) -> AbstractAsyncContextManager[object]:
        """Jobs for the same dead letters take turns: each finds what the one before has handled."""
        if request.kind == "replay" or key[1] is None:
            return nullcontext()
        return self._partition_locks[request.destination, key[1]]

    async def _job_of(self, place: Partition | None, request: Request) -> Job:
        if place is None:
            return CompletionJob(request, self._places[request.id], self._desk, _unlimited)
        way = await self._way_of(request)
        share = partial(self._share, request)
        if request.kind == "replay":
            _check_replay(request, way)
            return ReplayJob(request, place, self._desk, share, way)
        keeper = partial(owner_of, topics=self._topics)
        return RedriveJob(request, place, self._desk, share, way, keeper=keeper)

    async def _way_of(self, request: Request) -> DestinationPath:
        name = request.destination
        if name not in self._ways:
            try:
                self._ways[name] = await asyncio.to_thread(self._way_to, name)
            except KeyError:
                raise _Refused(f"the flow has no destination {name!r}") from None
        return self._ways[name]

    def _share(self, request: Request) -> float | None:
        """What one partition may send of the request's rate, so that all together keep to it."""
        if request.rate is None:
            return None
        places = self._places[request.id]
        return request.rate / max(1, sum(not self._is_done(request, place) for place in places))

    async def _refuse(self, request: Request, reason: str) -> None:
        log.error("%s %s is refused: %s", request.kind, request.id, reason)
        current = self._requests.get(request.id)
        if current is not None:
            refused = current.with_state("refused", reason=reason)
            try:
                await self._control.put(request.record_key, refused.to_record())
            except KafkaUnavailable as error:
                log.warning("that could not be written yet: %s", error)

    def _failed(self, failure: BaseException) -> None:
        log.error("replays failed", exc_info=failure)
        self.failure = self.failure or failure


class _Refused(Exception):
    """A request that must not be done."""


def _check_replay(request: Request, way: DestinationPath) -> None:
    for topic, _ in request.ranges:
        if topic not in way.topics:
            raise _Refused(f"no route leads from {topic} to {request.destination}")
    if request.mode == "events" and not (way.appends or request.force):
        raise _Refused(
            f"{request.destination} keeps the newest state only (its sink does not say "
            "appends=True): replay with --mode state, or with --force"
        )
    if request.where:
        try:
            Predicate(request.where)
        except ConfigurationError as error:
            raise _Refused(str(error)) from error


def _unlimited() -> float | None:
    return None
