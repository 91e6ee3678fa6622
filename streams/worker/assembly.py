"""A worker's steps, put together from a flow, its parameters and the backbone's addresses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from trunkline import kafka, naming
from trunkline.connectors.base import PushSource, Sink, Source
from trunkline.errors import ConfigurationError
from trunkline.kafka.poll_loop import IDLE_POLL, POLL, PollLoop
from trunkline.kafka.range_reader import RangeReader, reader_of
from trunkline.kafka.reading import last_record, read_all
from trunkline.params import Backbone, Params
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.admission.queries import QueryAdmission
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.alerts.listener import AlertListener
from trunkline.streams.alerts.manager import AlertManager
from trunkline.streams.alerts.settings import AlertSettings
from trunkline.streams.alerts.unhandled import QueueCounter
from trunkline.streams.check.streams import stream_problems, streams_of
from trunkline.streams.control.clients import ControlClients
from trunkline.streams.control.kafka_topic import KafkaControl, read_control
from trunkline.streams.deliver.backpressure import MAX_OPEN
from trunkline.streams.deliver.broker import KafkaBroker
from trunkline.streams.deliver.step import DRAIN_TIMEOUT, DeliveryStep
from trunkline.streams.flow.definition import Destination, Flow
from trunkline.streams.flow.source import AnySource, SourceDefinition
from trunkline.streams.journal.follower import CallFollower
from trunkline.streams.listener import Listeners
from trunkline.streams.metrics import DeliveryMetrics, Metrics, RoutingMetrics, SourceMetrics
from trunkline.streams.operations.queries import QueryStep
from trunkline.streams.publish.letter_limit import LetterLimit
from trunkline.streams.publish.publishers import Announcement, published_by
from trunkline.streams.publish.push_step import ANSWER_TIMEOUT, PushStep
from trunkline.streams.publish.source_group import ASSIGNOR, SourceGroup
from trunkline.streams.publish.source_step import SourceStep
from trunkline.streams.publish.stored_position import StoredPosition
from trunkline.streams.quota.client import QuotaClient, limited
from trunkline.streams.replay.job import JobContext
from trunkline.streams.replay.step import ReplayStep
from trunkline.streams.route.step import RoutingStep
from trunkline.streams.route.transactions import RoutingTransactions
from trunkline.streams.tables.disk import on_disk
from trunkline.streams.tables.memory import in_memory
from trunkline.streams.tables.slot import Slot
from trunkline.streams.tables.step import TablesStep
from trunkline.streams.tables.store import StoreOpener
from trunkline.streams.tables.table_set import TopicTables
from trunkline.streams.worker.compiler import Compiler
from trunkline.streams.worker.enrichment import breaker_of, enrichment_of
from trunkline.streams.worker.faust_app import FlowApp
from trunkline.streams.worker.first_start import first_start_of
from trunkline.streams.worker.listeners import delivery_listener
from trunkline.streams.worker.operations import with_operations
from trunkline.streams.worker.routing_supervisor import RoutingSupervisor
from trunkline.streams.worker.source_supervisor import SourceSupervisor
from trunkline.streams.worker.supervisor import ControlledHaltDecisions, DestinationSupervisor

if TYPE_CHECKING:
    from trunkline.streams.tracing.traces import Traces

ROUTED_BATCHES = 2
"""Batches of the routing step under way: one in its transaction, one read meanwhile. What arrives
then makes the next batch larger, so that a slow transaction never leads to many small ones."""


class Step(Protocol):
    """What a worker runs: ``start`` returns when it runs, ``stop`` when all is committed."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Assembly:
    """Builds the steps of one worker. Raises ConfigurationError, and RegistryUnavailable.

    ``drain``, ``max_open``: of deliveries, as ``DeliveryStep`` says. ``clients``: of the control
    topic, where flows of one process share them. ``traces``: what tells the collector, if anything.
    """

    def __init__(
        self,
        flow: Flow[Any],
        env: Params,
        backbone: Backbone,
        app: FlowApp,
        metrics: Metrics,
        alerts: AlertSettings,
        *,
        drain: float = DRAIN_TIMEOUT,
        max_open: int = MAX_OPEN,
        clients: ControlClients | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._traces = traces
        self._flow = flow
        self._env = env
        self._backbone = backbone
        self._app = app
        self._metrics = metrics
        self._drain = drain
        self._max_open = max_open
        self._clients = clients
        self._idle = IDLE_POLL if clients else POLL  # there are many poll loops then
        self._registry = registry_of(backbone)
        self._codec = Codec(self._registry)
        subjects = backbone.registry_subjects
        self._compiler = Compiler(
            *(flow, self._codec),
            register=backbone.create,
            subjects=subjects,
            env=env,
            traces=traces,
        )
        self.tables: TablesStep | None = None
        self._slot: Slot | None = None
        self._control = KafkaControl(backbone, flow.control, clients)
        self._alerts = AlertManager(
            self._control,
            alerts.channels(),
            flow=flow.name,
            letters=QueueCounter(backbone, flow.name),
            reminder=alerts.reminder_seconds,
        )
        self._quota = QuotaClient(backbone) if limited(flow.destinations) else None
        self._supervisors: list[DestinationSupervisor | RoutingSupervisor | SourceSupervisor] = []
        self._announcement: Announcement | None = None

    def steps(self, roles: Collection[str], *, batch: int) -> list[Step]:
        """The steps of these roles, in the order in which they must stop."""
        flow = self._flow
        steps: list[Step] = []
        if "source" in roles:
            sources = self._sources()
            self._supervisors += [SourceSupervisor(step, self._control) for step in sources]
            steps += sources
        # A worker of sources alone builds no sink: the passwords of destinations need not be in its
        # environment. One that routes builds them, unopened, to ask whether they take deletes.
        sinks = {} if set(roles) == {"source"} else self._sinks()
        if "route" in roles and flow.routes:
            steps += self._routing(sinks, batch)
            if flow.tables:
                self.tables = self._tables()
                steps.append(self.tables)
        if "deliver" in roles:
            for destination in flow.destinations:
                steps += self._deliveries(destination, sinks[destination.name])
        return steps

    async def begin(self) -> None:
        """Read the control topic, and follow it; before the steps start."""
        await self._control.start()
        await self._alerts.start()
        if self._quota is not None:
            await self._quota.start()
        if self._announcement is not None:
            self._announcement.start()
        for supervisor in self._supervisors:
            supervisor.start()

    async def end(self) -> None:
        """After the steps have stopped."""
        for supervisor in self._supervisors:
            # Before the control topic ends: it takes its status record out of it.
            await supervisor.stop()
        if self._quota is not None:
            await self._quota.stop()
        if self._announcement is not None:
            await self._announcement.stop()
        await self._alerts.stop()
        await self._control.stop()
        self._registry.close()
        if self._slot is not None:
            self._slot.release()

    @property
    def parts(self) -> list[object]:
        """What may have a ``failure`` besides the steps."""
        shared = [self._control, self._alerts, self._quota, self._announcement]
        return [*shared, *self._supervisors]

    def _sinks(self) -> dict[str, Sink[Any]]:
        return {d.name: d.build(self._env) for d in self._flow.destinations}

    def _sources(self) -> list[SourceStep | PushStep]:
        connectors = {d.name: d(self._env) for d in self._flow.sources}
        given = {name: streams_of(connector) for name, connector in connectors.items()}
        if problems := list(stream_problems(self._flow, given)):
            raise ConfigurationError("\n".join(map(str, problems)))
        if topics := published_by(self._flow):
            self._announcement = Announcement(
                self._backbone, self._flow.name, topics, clients=self._clients
            )
        name = naming.sources_group(self._flow.name)
        consumer = partial(kafka.consumer, self._backbone, name, assignor=ASSIGNOR)
        group = SourceGroup(name, consumer, idle=self._idle)
        return [self._source(d, connectors[d.name], group) for d in self._flow.sources]

    def _source(
        self, definition: SourceDefinition[Any], connector: AnySource, group: SourceGroup
    ) -> SourceStep | PushStep:
        publisher = self._compiler.publisher(definition)
        name, monitor = definition.name, self._alerts.monitor(definition.name, step="publish")
        metrics = SourceMetrics(self._metrics, self._flow.name, name)
        listener = Listeners(metrics, AlertListener(monitor))
        if isinstance(connector, PushSource):
            # Staging beside production on one port shared it without a word, and each answered 404
            # to half of the other's calls. The name says who has the port, and keeps others out.
            connector.owner = f"flow {self._flow.name} on {self._backbone.bootstrap}"
            return PushStep(
                name,
                publisher,
                source=connector,
                make_producer=partial(kafka.producer, self._backbone, timeout=ANSWER_TIMEOUT),
                metrics=metrics,
                outcome_listener=listener,
                limit=LetterLimit(definition.dead_letter_limit),
            )
        # The same id in each worker that gets the source: Kafka fences the one before, which may be
        # frozen in the middle of a batch. Routing and delivery have the group's generation.
        fenced = naming.source_transactional_id(self._flow.name, name)
        return SourceStep(
            name,
            definition.positions,
            publisher,
            build=cast(Callable[[], Source], partial(definition, self._env)),
            group=group,
            make_producer=partial(kafka.producer, self._backbone, transactional_id=fenced),
            stored=StoredPosition(
                name,
                definition.positions,
                newest=partial(last_record, self._backbone, definition.positions, group.name),
                every=partial(read_all, self._backbone, definition.positions),
            ),
            metrics=metrics,
            outcome_listener=listener,
            limit=LetterLimit(definition.dead_letter_limit),
            linger=definition.linger,
        )

    def _routing(self, sinks: dict[str, Sink[Any]], batch: int) -> list[Step]:
        """Routing, and the replays that write beside it: they stop first, since a chunk of theirs
        needs the transactions of the routing step."""
        flow = self._flow
        metrics = RoutingMetrics(self._metrics, flow.name)
        monitor = self._alerts.monitor(flow.name, step="route")
        intake = PollLoop(
            partial(kafka.consumer, self._backbone, naming.route_group(flow.name)),
            sorted({route.topic.topic for route in flow.routes}),
            batch=batch,
            max_batches=ROUTED_BATCHES,
            idle=self._idle,
        )
        transactions = RoutingTransactions(intake, self._producer_of("route"), metrics)
        replays = self._replays(intake, transactions, sinks)
        batches = self._app.queue("route", ("step", "route"))
        router = self._compiler.router(sinks)
        routing = RoutingStep(
            router,
            intake,
            transactions,
            self._traces.listener(router, replays) if self._traces else replays,
            enqueue=batches.put,
            metrics=metrics,
            outcome_listener=Listeners(metrics, AlertListener(monitor, self._monitors_by_queue())),
            first_start=first_start_of(flow, self._backbone, self._clients),
            timeout=kafka.transaction_timeout(self._backbone),
        )
        batches.consume(routing.process)
        self._supervisors.append(RoutingSupervisor(routing, self._control, monitor, metrics))
        return [replays, routing]

    def _tables(self) -> TablesStep:
        return TablesStep(
            self._compiler.tables,
            self._backbone,
            self._metrics,
            opener=self._opener,
            learn=self._codec.learn_schemas,
        )

    def _opener(self, topic: TopicTables) -> StoreOpener:
        if topic.kind == "memory":
            return in_memory
        if self._slot is None:
            self._slot = Slot.claim(Path(self._backbone.data) / "tables" / self._flow.name)
        return on_disk(self._slot.folder / topic.topic)

    def _replays(
        self, intake: PollLoop, transactions: RoutingTransactions, sinks: dict[str, Sink[Any]]
    ) -> ReplayStep:
        flow, backbone = self._flow, self._backbone
        reader = partial(reader_of, backbone, naming.route_group(flow.name))
        paths = {
            d.name: partial(self._compiler.path_to, d, sinks[d.name]) for d in flow.destinations
        }
        return ReplayStep(
            JobContext(
                flow.name,
                transactions,
                # While live events wait, they get half of the time.
                make_reader=lambda: RangeReader(reader, lambda: intake.lag > 0),
                read_control=partial(read_control, backbone, flow.control),
            ),
            self._control,
            sorted({route.topic.topic for route in flow.routes}),
            count_partitions=lambda: kafka.existing_topics(kafka.admin(backbone)),
            path_to=lambda name: paths[name](),
        )

    def _deliveries(self, destination: Destination[Any, Any], given: Sink[Any]) -> list[Step]:
        """What delivers to a destination, and what asks its system, if anything does."""
        name = destination.name
        metrics = DeliveryMetrics(self._metrics, self._flow.name, name)
        limits = self._quota.gates(self._flow.name, destination) if self._quota else []
        compiled = self._compiler.enrichment_of(destination, self._env)
        admission = AdmissionController(
            destination.policy, time.time, limits, enrichment=breaker_of(compiled)
        )
        monitor = self._alerts.monitor(name, destination.policy.alert)
        batches = self._app.queue(f"deliver-{name}", ("destination", name))
        sink, journal = with_operations(destination, given)
        if self._traces is not None:
            sink = self._traces.sink(sink, flow=self._flow.name, destination=name)
        step = DeliveryStep(
            sink,
            destination,
            broker=self._broker(destination),
            gate=admission,
            enrichment=enrichment_of(compiled, admission, metrics, time.time),
            decode=self._compiler.decoder_of(destination),
            personal=self._compiler.personal_of(destination),
            prefetch_schemas=self._codec.prefetch_schemas,
            enqueue=batches.put,
            decisions=ControlledHaltDecisions(self._control, name),
            outcome_listener=delivery_listener(metrics, monitor, admission),
            metrics=metrics,
            clock=time.time,
            random=random.random,
            drain=self._drain,
            max_open=self._max_open,
            journal=journal,
            follower=None if journal is None else self._follower(destination),
            decode_calls=self._compiler.call_decoders_of(destination),
        )
        batches.consume(step.accept)
        for limit in limits:
            # Only now: the step needs its gates, so it is not there when they are made.
            limit.on_capacity = step.wake
        parts, most = (admission, self._control, monitor, metrics, step), destination.max_backlog
        self._supervisors.append(DestinationSupervisor(*parts, clock=time.time, max_backlog=most))
        return [step] if not destination.queries else [step, self._queries(step, admission, given)]

    def _queries(
        self, delivery: DeliveryStep, admission: AdmissionController, sink: Sink[Any]
    ) -> QueryStep:
        """What asks the system of a destination. It has shares of the limits of its own: however
        many events wait, queries get theirs."""
        destination = next(d for d in self._flow.destinations if d.name == delivery.name)
        limits = self._quota.gates(self._flow.name, destination) if self._quota else []
        step = QueryStep(
            destination,
            sink,
            backbone=self._backbone,
            admission=QueryAdmission(admission, limits),
            opened=lambda: delivery.opened,
            decode=self._compiler.call_decoders_of(destination),
            prefetch_schemas=self._codec.prefetch_schemas,
            clock=time.time,
        )
        for limit in limits:
            limit.on_capacity = step.dispatch
        return step

    def _follower(self, destination: Destination[Any, Any]) -> CallFollower:
        group = naming.delivery_group(self._flow.name, destination.name)
        return CallFollower(self._backbone, group, destination.calls)

    def _broker(self, destination: Destination[Any, Any]) -> KafkaBroker:
        group = naming.delivery_group(self._flow.name, destination.name)
        own = kafka.unique_id(self._flow.name, destination.name)
        return KafkaBroker(self._backbone, group, own, destination.tiers, idle=self._idle)

    def _producer_of(self, role: str) -> partial[Any]:
        id_ = kafka.unique_id(self._flow.name, role)
        return partial(kafka.producer, self._backbone, transactional_id=id_)

    def _monitors_by_queue(self) -> dict[str, ConditionMonitor]:
        """A route's dead letters concern their destination."""
        destinations = self._flow.destinations
        return {d.dlq: self._alerts.monitor(d.name, d.policy.alert) for d in destinations}
