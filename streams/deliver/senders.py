"""The senders of one destination: a fixed number of calls of its sink side by side.

A call is made when a sender is idle, a key queue has events, and the gate permits it. What its
outcome means for the events is decided in ``outcomes``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from trunkline.connectors.base import Sink
from trunkline.errors import SCHEMA_UNAVAILABLE, DataError, PartialFailure, Rejected, Unavailable
from trunkline.event import Event
from trunkline.schemas.codec import PrefetchSchemas
from trunkline.streams.admission.gate import NEVER, Gate
from trunkline.streams.deliver.classifier import ErrorClassifier
from trunkline.streams.deliver.enriching import EnrichmentStage
from trunkline.streams.deliver.failures import sound_failure
from trunkline.streams.deliver.outcomes import OutcomeHandler
from trunkline.streams.deliver.ownership import OwnershipLease, OwnershipUncertain
from trunkline.streams.deliver.poison import PoisonDetector
from trunkline.streams.deliver.sink_call import Events, SinkCall
from trunkline.streams.flow.policy import Policy
from trunkline.streams.journal.doubt import InDoubt, NotAsked
from trunkline.streams.metrics import StepMetrics
from trunkline.streams.retry.key_queues import KeyQueues
from trunkline.tasks import awaited_cancellation_fails, supervised_task

HOLDS = (*SCHEMA_UNAVAILABLE, OwnershipUncertain)
"""Errors that say nothing of an event: its batch waits where it is."""


class BatchPolicy:
    """When a batch is made, and of how many events: as many as are there, up to ``size``; if they
    are fewer, after waiting ``linger`` seconds for more."""

    def __init__(self, size: int, linger: float) -> None:
        self.size = size
        self._linger = linger
        self._ready_at: float | None = None

    def ready_at(self, now: float, ready: int) -> float:
        """When to make a batch of the events of ``ready`` keys: at once if that is not after
        ``now``."""
        if not self._linger or ready >= self.size:
            return now
        if self._ready_at is None:
            self._ready_at = now + self._linger
        ready_at = self._ready_at
        if ready_at <= now:
            self._ready_at = None
        return ready_at


class SenderPool:
    """Takes from ``queues`` what ``gate`` permits, gives it to ``sink``, and the outcome of each
    call to ``results``. ``on_fatal``: told of a defect that ended a sender."""

    def __init__(
        self,
        name: str,
        sink: Sink[Any],
        queues: KeyQueues,
        gate: Gate,
        lease: OwnershipLease,
        *,
        policy: Policy,
        prefetch_schemas: PrefetchSchemas,
        detector: PoisonDetector,
        enrichment: EnrichmentStage | None = None,
        results: OutcomeHandler,
        metrics: StepMetrics,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._sink = sink
        self._queues = queues
        self._gate = gate
        self._lease = lease
        size = min(sink.max_batch, policy.limits.batch or sink.max_batch)
        self._batches = BatchPolicy(size, policy.limits.linger)
        self._timeout = None if sink.keeps_timeout else policy.limits.timeout
        self._max_retry_after = policy.retry.max_retry_after
        self._classifier = ErrorClassifier(policy)
        self._prefetch_schemas = prefetch_schemas
        self._holds = policy.outage == "hold"
        self._detector = detector
        self._enrichment = enrichment
        self._results = results
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._idle: deque[asyncio.Future[SinkCall]] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._under_way: set[SinkCall] = set()
        self._alarm = NEVER
        self.idle = asyncio.Event()
        """Set while no call is under way."""
        self.idle.set()

    def start(self) -> None:
        """Begin; ``dispatch`` gives out work."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            supervised_task(self._work(), f"deliver-{self._name}-{number}", self._on_fatal)
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
            call.finish_enrichment(self._loop.time())
            call.permit.finish(self._loop.time(), 0, None)
        self._under_way.clear()
        self.idle.set()

    def dispatch(self) -> None:
        """Give ready events to idle senders, as far as the gate permits."""
        while self._idle and self._queues.ready:
            now = self._loop.time()
            permits = self._gate.permits(now)
            if permits <= 0:
                self._ask_again(self._gate.retry_at(now))
                return
            ready_at = self._batches.ready_at(now, self._queues.ready)
            if ready_at > now:
                self._ask_again(ready_at)
                return
            batch = self._queues.poll(min(permits, self._batches.size))
            call = SinkCall(batch, self._gate.acquire(now, len(batch)))
            if self._enrichment is not None:
                call.enrichment_permit = self._enrichment.acquire(now, len(batch))
            self._under_way.add(call)
            self.idle.clear()
            self._idle.popleft().set_result(call)

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
        work: asyncio.Future[SinkCall] = self._loop.create_future()
        self._idle.append(work)
        self.dispatch()
        return await work

    async def _call(self, call: SinkCall) -> None:
        started = time.monotonic()
        # What the gate hears of a call that is cancelled.
        sent, failure, again = 0, None, False
        try:
            await self._attempt(call)
            # Without those that cannot be read or enriched: it was not asked about.
            if call.sent and call.asked:
                sent, failure = len(call.sent), self._meaning(call)
                again = self._detector.on_call(call.sent, self._down(call, failure))
        finally:
            now = self._loop.time()
            call.finish_enrichment(now)
            call.permit.finish(now, sent, failure, again=again)
            self._under_way.discard(call)
            if not self._under_way:
                self.idle.set()
        self._results.handle(call)
        call.break_reference_cycle()
        self._metrics.batch_seconds.observe(time.monotonic() - started)

    async def _attempt(self, call: SinkCall) -> None:
        """Read the events of a call and give them to the sink; its outcome is in ``call`` then.

        1. Ask for schemas that are not known yet, in a thread.
        2. Decode the events, and sort out those that cannot be read.
        3. Enrich them, if the destination has an enrichment, and sort out those that are not.
        4. Make sure that the partitions are still ours: last, so that it is still so in step 5.
        5. Call the sink.

        What keeps 1 to 4 from being done for a while (HOLDS) holds the whole batch, and blames no
        event. Any other error of a reader is an outcome like one of the sink: nothing is lost.
        """
        try:
            await self._prefetch_schemas([event.value for event in call.batch])
            self._read(call)
            call.given = call.sent
            if self._enrichment is not None:
                await self._enrichment.apply(call)
            await self._lease.ensure()
        except HOLDS as reason:
            call.hold(reason)
            return
        except Exception as error:  # noqa: BLE001 - whatever a reader raises must lose nothing
            call.failure, call.sent = error, call.batch
            return
        try:
            if call.sent:
                await self._deliver(call.given)
        except NotAsked:
            call.asked = False
        except Exception as error:  # noqa: BLE001 - whatever a sink raises must lose nothing
            call.asked = not isinstance(error, InDoubt) or error.asked
            call.failure = sound_failure(error, self._max_retry_after)

    async def _deliver(self, events: Events) -> None:
        if self._timeout is None:
            with awaited_cancellation_fails():
                await self._sink.deliver(events)
            return
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                with awaited_cancellation_fails():
                    await self._sink.deliver(events)
        except TimeoutError as error:
            if not limit.expired():  # it is the sink's own
                raise
            raise Unavailable(f"no answer in {self._timeout} s (timeout=)") from error

    def _read(self, call: SinkCall) -> None:
        """Sort out what cannot be read or is not taken. Raises one of HOLDS."""
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

    def _meaning(self, call: SinkCall) -> Exception | None:
        """What the policy makes of a failure: a 503 that is to be tried again is no outage, and
        a call each event of which found the destination down is one."""
        failure = call.failure
        if failure is None:
            return None
        if isinstance(failure, PartialFailure):
            down = self._down(call, failure)
            return down[0] if down.keys() == {*range(len(call.sent))} else failure
        return self._classifier.classify(failure)

    def _down(self, call: SinkCall, failure: Exception | None) -> Mapping[int, Exception]:
        """The errors of those sent that found the destination unavailable and are to be held, by
        index."""
        if failure is None or not self._holds:
            return {}
        if isinstance(failure, PartialFailure):
            judged = {i: self._classifier.classify(e) for i, e in failure.failures.items()}
            return {i: error for i, error in judged.items() if isinstance(error, Unavailable)}
        if isinstance(failure, Unavailable):
            return dict.fromkeys(range(len(call.sent)), failure)
        return {}
