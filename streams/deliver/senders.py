"""The senders of one destination: a fixed number of calls of its sink side by side.

A call is made when a sender is idle, a lane has events, and the gate permits it. What a call's end
means for its events is not decided here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trunkline.connectors.base import Sink
from trunkline.errors import DataError, PartialFailure, Rejected, Unavailable
from trunkline.event import Event
from trunkline.schemas.codec import PrefetchSchemas
from trunkline.streams.admission.gate import NEVER, Gate, Permit
from trunkline.streams.deliver.classifier import ErrorClassifier
from trunkline.streams.deliver.ownership import OwnershipLease, OwnershipUncertain
from trunkline.streams.flow.policy import Policy
from trunkline.streams.retry.key_queues import KeyQueues
from trunkline.tasks import supervised_task

Events = list[Event[Any]]


@dataclass(slots=True, eq=False)
class SinkCall:
    """One call of the sink, from the moment that the gate has admitted it.

    ``batch``: what was taken from the lanes; ``permit``: the gate's, finished once; ``sent``:
    those of the batch that the sink was given; ``unreadable``: those that it cannot be given, each
    with the reason; ``failure``: what the sink raised, or None; ``held``: why nothing could be
    read at all (a registry that is down).
    """

    batch: Events
    permit: Permit
    sent: Events = field(default_factory=list)
    unreadable: list[tuple[Event[Any], DataError | Rejected]] = field(default_factory=list)
    failure: Exception | None = None
    held: Exception | None = None

    def break_reference_cycle(self) -> None:
        """Break the circle of an error, its traceback, a frame in it, and this call: else each
        failure waits for the garbage collector, which then stops everything for a while."""
        self.failure = self.held = None
        self.unreadable.clear()


class SenderPool:
    """Takes from ``lanes`` what ``gate`` admits, gives it to ``sink``, and tells ``concluded``."""

    def __init__(
        self,
        name: str,
        sink: Sink[Any],
        lanes: KeyQueues,
        gate: Gate,
        lease: OwnershipLease,
        *,
        policy: Policy,
        learn: PrefetchSchemas,
        holds: tuple[type[Exception], ...],
        concluded: Callable[[SinkCall], None],
        failed: Callable[[BaseException], None],
        observe: Callable[[float], None],
    ) -> None:
        self._name = name
        self._sink = sink
        self._lanes = lanes
        self._gate = gate
        self._lease = lease
        self._largest = min(sink.max_batch, policy.limits.batch or sink.max_batch)
        self._linger = policy.limits.linger
        self._timeout = policy.limits.timeout
        self._classifier = ErrorClassifier(policy)
        self._learn = learn
        self._holds = (*holds, OwnershipUncertain)
        self._concluded = concluded
        self._failed = failed
        self._observe = observe
        self._idle: deque[asyncio.Future[SinkCall]] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._under_way: set[SinkCall] = set()
        self._alarm = NEVER
        self._lingering = 0.0
        self.idle = asyncio.Event()
        """Set while no call is under way."""
        self.idle.set()

    def start(self) -> None:
        """Begin; ``pump`` gives out work."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            supervised_task(self._work(), f"deliver-{self._name}-{number}", self._failed)
            for number in range(self._sink.concurrency)
        ]

    async def end(self) -> None:
        """Cancel what is under way; it counts as not sent."""
        self._idle.clear()  # first, so that nothing is given to a sender that ends
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for call in self._under_way:
            # Its sender was cancelled between dispatch and the first step of the call. Were the
            # permit kept, a limit of ten concurrent calls would be one of nine from here on.
            call.permit.finish(self._loop.time(), 0, None)
        self._under_way.clear()
        self.idle.set()

    def dispatch(self) -> None:
        """Give ready events to idle senders, as far as the gate permits."""
        while self._idle and self._lanes.ready:
            now = self._loop.time()
            permits = self._gate.permits(now)
            if permits <= 0:
                self._ask_again(self._gate.retry_at(now))
                return
            if self._linger and not self._full_or_late(now):
                return
            batch = self._lanes.poll(min(permits, self._largest))
            call = SinkCall(batch, self._gate.acquire(now, len(batch)))
            self._under_way.add(call)
            self.idle.clear()
            self._idle.popleft().set_result(call)

    def _full_or_late(self, now: float) -> bool:
        """Whether a batch is full, or the first event for it has waited as long as it may."""
        if self._lanes.ready >= self._largest:
            return True
        if not self._lingering:
            self._lingering = now + self._linger
        if now < self._lingering:
            self._ask_again(self._lingering)
            return False
        self._lingering = 0.0
        return True

    def _ask_again(self, at: float) -> None:
        """One timer, for the earliest time at which somebody wants to be asked."""
        if at >= self._alarm or at == NEVER:
            return
        self._alarm = at
        self._loop.call_at(at + 0.0005, self._alarmed, at)

    def _alarmed(self, at: float) -> None:
        if at <= self._alarm:
            self._alarm = NEVER
        self.dispatch()

    async def _work(self) -> None:
        while True:
            # No variable here holds the call: one would, until the next call comes, keep a failed
            # call's events and errors alive.
            await self._call(await self._next_call())

    async def _next_call(self) -> SinkCall:
        turn: asyncio.Future[SinkCall] = self._loop.create_future()
        self._idle.append(turn)
        self.dispatch()
        return await turn

    async def _call(self, call: SinkCall) -> None:
        started = time.monotonic()
        sent, failure = 0, None  # what the gate hears of a call that is cancelled
        try:
            await self._attempt(call)
            if call.sent:  # without those that cannot be read: nobody was asked about them
                sent, failure = len(call.sent), self._meaning(call.failure)
        finally:
            call.permit.finish(self._loop.time(), sent, failure)
            self._under_way.discard(call)
            if not self._under_way:
                self.idle.set()
        self._concluded(call)
        call.break_reference_cycle()
        self._observe(time.monotonic() - started)

    async def _attempt(self, call: SinkCall) -> None:
        try:
            await self._learn(event.value for event in call.batch)
            self._read(call)
            await self._lease.ensure()  # last, so that what it says is still so
        except Exception as error:  # noqa: BLE001 - whatever a reader raises must lose nothing
            call.held = error if isinstance(error, self._holds) else None
            call.failure = error
            call.sent = [] if call.held else call.batch
            return
        try:
            if call.sent:
                await self._deliver(call.sent)
        except Exception as error:  # noqa: BLE001 - whatever a sink raises must lose nothing
            call.failure = error

    async def _deliver(self, events: Events) -> None:
        if self._timeout is None:
            await self._sink.deliver(events)
            return
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                await self._sink.deliver(events)
        except TimeoutError as error:
            if not limit.expired():  # it is the sink's own
                raise
            raise Unavailable(f"no answer in {self._timeout} s (timeout=)") from error

    def _read(self, call: SinkCall) -> None:
        """Sort out what cannot be read or is not taken. Raises one of ``holds``."""
        sent: Events = []
        unreadable: list[tuple[Event[Any], DataError | Rejected]] = []
        for event in call.batch:
            try:
                if event.value is not None:
                    event.data  # noqa: B018 - decodes
                elif not self._sink.accepts_deletes:
                    raise Rejected("the destination accepts no deletes")
                sent.append(event)
            except (DataError, Rejected) as error:
                unreadable.append((event, error))
        call.sent, call.unreadable = sent, unreadable

    def _meaning(self, failure: Exception | None) -> Exception | None:
        """What the policy makes of a failure: a 503 that is to be tried again is no outage."""
        if failure is None or isinstance(failure, PartialFailure):
            return failure
        return self._classifier.classify(failure)
