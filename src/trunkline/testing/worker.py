"""A worker in memory: the routing and the delivery of a flow, made of the engine's own parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from trunkline.connectors.base import Sink
from trunkline.kafka import ProducerRecord
from trunkline.kafka.poll_loop import MicroBatch
from trunkline.naming import delivery_group
from trunkline.params import Params
from trunkline.schemas.codec import PrefetchSchemas
from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.admission.gate import NEVER
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.deliver.step import DeliveryStep
from trunkline.streams.flow.definition import Destination, Flow
from trunkline.streams.metrics import DeliveryMetrics, Metrics
from trunkline.streams.quota.client import limits_of
from trunkline.streams.quota.limiter import QuotaGate
from trunkline.streams.worker.compiler import Compiler
from trunkline.streams.worker.enrichment import breaker_of, enrichment_of
from trunkline.streams.worker.listeners import delivery_listener
from trunkline.streams.worker.operations import with_operations
from trunkline.streams.worker.supervisor import ControlledHaltDecisions, DestinationSupervisor
from trunkline.tasks import supervised_task
from trunkline.testing.calls import MemoryFollower
from trunkline.testing.control import MemoryControl
from trunkline.testing.keys import IdempotencyKeys
from trunkline.testing.log import MemoryBroker, MemoryConsumer
from trunkline.testing.routing import MemoryRouting, Unrouted
from trunkline.testing.tables import MemoryTables
from trunkline.testing.topics import Topics


@dataclass(slots=True)
class Parts:
    """What a worker is made of, and what survives it. ``clients``: of enrichments, in place of the
    flow's, by their types. ``clock``: epoch seconds; ``random``: numbers from 0 to 1, for jitter.
    """

    flow: Flow[Any]
    env: Params
    clients: Mapping[type, Any]
    topics: Topics
    control: MemoryControl
    compiler: Compiler
    tables: MemoryTables
    metrics: Metrics
    sinks: Mapping[str, Sink[Any]]
    keys: IdempotencyKeys
    unrouted: Unrouted
    prefetch_schemas: PrefetchSchemas
    clock: Callable[[], float]
    random: Callable[[], float]


class Delivery:
    """One destination in one worker: the real step with its admission and supervisor."""

    def __init__(
        self, parts: Parts, destination: Destination[Any, Any], limits: list[QuotaGate]
    ) -> None:
        name, clock = destination.name, parts.clock
        metrics = DeliveryMetrics(parts.metrics, parts.flow.name, name)
        self.failure: BaseException | None = None
        compiled = parts.compiler.enrichment_of(destination, parts.env, parts.clients)
        self.admission = AdmissionController(
            destination.policy,
            clock,
            limits,
            enrichment=breaker_of(compiled),
            random=parts.random,
        )
        monitor = ConditionMonitor(destination.policy.alert, clock)
        self.broker = MemoryBroker(parts.topics, delivery_group(parts.flow.name, name))
        self._batches: asyncio.Queue[MicroBatch] = asyncio.Queue()
        sink, journal = with_operations(destination, parts.sinks[name], clock)
        follower = None if journal is None else MemoryFollower(parts.topics, destination.calls)
        self.step = DeliveryStep(
            sink,
            destination,
            broker=self.broker,
            gate=self.admission,
            enrichment=enrichment_of(compiled, self.admission, metrics, clock),
            decode=parts.compiler.decoder_of(destination),
            personal=parts.compiler.personal_of(destination),
            prefetch_schemas=parts.prefetch_schemas,
            enqueue=self._batches.put_nowait,
            decisions=ControlledHaltDecisions(parts.control, name),
            outcome_listener=delivery_listener(metrics, monitor, self.admission),
            metrics=metrics,
            clock=clock,
            random=parts.random,
            journal=journal,
            follower=follower,
            decode_calls=parts.compiler.call_decoders_of(destination),
        )
        self.reader = cast(MemoryConsumer, self.step.intake)
        self.supervisor = DestinationSupervisor(
            *(self.admission, parts.control, monitor, metrics, self.step),
            clock=clock,
            max_backlog=destination.max_backlog,
        )

    async def start(self) -> None:
        """Begin."""
        self._task = supervised_task(self._accept(), f"accept-{self.step.name}", self._failed)
        self.supervisor.start()
        # In a task, as in a worker: a client of an enrichment that cannot be opened is tried again.
        self._starting = supervised_task(self.step.start(), f"start-{self.step.name}", self._failed)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """End as a worker does that is asked to: finish and commit."""
        self._starting.cancel()
        await asyncio.gather(self._starting, return_exceptions=True)
        await self.step.stop()
        await self._end()

    async def crash(self) -> None:
        """End as a worker does that is killed: nothing more is sent or written."""
        self.broker.die()
        await self.reader.die()
        await self.stop()

    async def _end(self) -> None:
        await self.supervisor.stop()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            await self.step.accept(await self._batches.get())

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure

    @property
    def failures(self) -> list[BaseException]:
        """Defects of the engine, or of what was given to it."""
        parts = (self, self.step, self.reader, self.supervisor)
        return [part.failure for part in parts if part.failure is not None]


class Worker:
    """Routes what is published, and delivers it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        router = parts.compiler.router(dict(parts.sinks))
        self._routing = MemoryRouting(router, parts.topics, parts.keys, parts.unrouted)
        self._routed = {route.topic.topic for route in parts.flow.routes}
        self._limits: dict[str, QuotaGate] = {}
        self.deliveries = {
            d.name: Delivery(parts, d, self.limits_of(d)) for d in parts.flow.destinations
        }

    def limits_of(self, destination: Destination[Any, Any]) -> list[QuotaGate]:
        """One gate a limit: destinations of one system share it, and no other worker does."""
        return [
            self._limits.setdefault(key, QuotaGate(whole))
            for key, whole in limits_of(self._parts.flow.name, destination)
        ]

    async def start(self) -> None:
        """Begin. All of each limit is this worker's."""
        now = asyncio.get_running_loop().time()
        for gate in self._limits.values():
            gate.grant(now, gate.whole, until=NEVER)
        for delivery in self.deliveries.values():
            await delivery.start()
        await self._routing.start()

    async def stop(self) -> None:
        """Finish and commit what is under way."""
        await self._routing.stop()
        for delivery in self.deliveries.values():
            await delivery.stop()

    async def crash(self) -> None:
        """Nothing is finished, nothing is committed."""
        await self._routing.stop()
        for delivery in self.deliveries.values():
            await delivery.crash()

    async def publish(self, records: Iterable[ProducerRecord]) -> None:
        """Write canonical events, and route them."""
        written = self._parts.topics.write(records)
        self._parts.tables.apply(written)
        await self._routing.route(m for m in written if m.topic() in self._routed)

    @property
    def failures(self) -> list[BaseException]:
        """Defects, if there were any."""
        routing = [] if self._routing.failure is None else [self._routing.failure]
        return [f for delivery in self.deliveries.values() for f in delivery.failures] + routing
