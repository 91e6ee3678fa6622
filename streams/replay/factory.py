"""From a request to the job that does it, or to the reason why it must not be done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from trunkline.errors import ConfigurationError
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.dlq.handled import owner_of
from trunkline.streams.replay.completion_job import CompletionJob
from trunkline.streams.replay.job import Job, JobContext, JobEnded
from trunkline.streams.replay.path import DestinationPath
from trunkline.streams.replay.predicate import Predicate
from trunkline.streams.replay.rate_limit import RateLimit
from trunkline.streams.replay.redrive_job import RedriveJob
from trunkline.streams.replay.registry import ReplayRegistry
from trunkline.streams.replay.replay_job import ReplayJob
from trunkline.streams.replay.request import Request


class RequestRefused(Exception):
    """A request that must not be done; the text says why."""


class JobFactory:
    """Makes the jobs of one worker.

    ``topics``: those that the flow routes. ``path_to``: today's path to the destination of this
    name; blocks, raises KeyError.
    """

    def __init__(
        self,
        context: JobContext,
        registry: ReplayRegistry,
        topics: Iterable[str],
        path_to: Callable[[str], DestinationPath],
    ) -> None:
        self._context = context
        self._registry = registry
        self._topics = sorted(topics)
        self._path_to = path_to
        self._paths: dict[str, DestinationPath] = {}

    async def create(self, key: ReplayKey, request: Request) -> Job:
        """The job of this name. Raises RequestRefused, RegistryUnavailable, and JobEnded if the
        request is gone by now."""
        context, partition = self._context, key.partition
        if partition is None:
            partitions = self._registry.partitions(request)
            if not partitions:  # its record was removed while this waited for its turn
                raise JobEnded
            return CompletionJob(request, partitions, context)
        path = await self._path(request.destination)
        rate = RateLimit(partial(self._registry.rate_share, request))
        if request.kind == "replay":
            _check_replay(request, path)
            return ReplayJob(request, partition, context, rate, path)
        return RedriveJob(request, partition, context, rate, path, owner_of=self._owner_of)

    def _owner_of(self, origin: Partition) -> Partition:
        return owner_of(origin, self._topics)

    async def _path(self, destination: str) -> DestinationPath:
        if destination not in self._paths:
            try:
                path = await asyncio.to_thread(self._path_to, destination)
            except KeyError:
                raise RequestRefused(f"the flow has no destination {destination!r}") from None
            self._paths[destination] = path
        return self._paths[destination]


def _check_replay(request: Request, path: DestinationPath) -> None:
    for topic, _ in request.ranges:
        if topic not in path.topics:
            raise RequestRefused(f"no route leads from {topic} to {request.destination}")
    if request.mode == "events" and not (path.appends or request.force):
        raise RequestRefused(
            f"{request.destination} keeps the newest state only (its sink does not say "
            "appends=True): replay with --mode state, or with --force"
        )
    if request.where:
        try:
            Predicate(request.where)
        except ConfigurationError as error:
            raise RequestRefused(str(error)) from error
