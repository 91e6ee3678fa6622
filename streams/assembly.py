"""A worker's steps, put together from a flow, its parameters and the backbone's addresses."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol, cast

from trunkline import kafka, kafka_read
from trunkline.connectors.base import PushSource, Sink, Source
from trunkline.params import Backbone, Params, revealed
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import Registry
from trunkline.streams.app import FlowApp
from trunkline.streams.compiling import Compiler
from trunkline.streams.delivery import DeliveryStep
from trunkline.streams.flow import Destination, Flow, SourceDefinition
from trunkline.streams.log import KafkaLog
from trunkline.streams.metrics import DeliveryMetrics, Metrics, StepMetrics
from trunkline.streams.push import PushStep
from trunkline.streams.router import RoutingStep
from trunkline.streams.source import SourceStep


class Step(Protocol):
    """What a worker runs: ``start`` returns when it runs, ``stop`` when all is committed."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def refresh(self) -> None: ...


class Assembly:
    """Builds the steps of one worker. Raises ConfigurationError, and RegistryUnavailable."""

    def __init__(
        self, flow: Flow[Any], env: Params, backbone: Backbone, app: FlowApp, metrics: Metrics
    ) -> None:
        self._flow = flow
        self._env = env
        self._backbone = backbone
        self._app = app
        self._metrics = metrics
        registry = Registry(
            backbone.registry,
            user=backbone.registry_user or None,
            password=revealed(backbone.registry_password) or None,
        )
        self._registry = registry
        self._codec = Codec(registry)
        self._compiler = Compiler(flow, self._codec, register=backbone.create)

    def steps(self, roles: Collection[str], *, batch: int) -> list[Step]:
        """The steps of these roles, in the order in which they must stop."""
        flow = self._flow
        steps: list[Step] = []
        if "source" in roles:
            steps += [self._source(definition) for definition in flow.sources]
        sinks = {} if set(roles) == {"source"} else self._sinks()
        if "route" in roles and flow.routes:
            steps.append(self._routing(sinks, batch))
        if "deliver" in roles:
            steps += [self._delivery(d, sinks[d.name]) for d in flow.destinations]
        return steps

    def close(self) -> None:
        """Release the connections to the registry."""
        self._registry.close()

    def _sinks(self) -> dict[str, Sink[Any]]:
        return {d.name: d(self._env) for d in self._flow.destinations}

    def _source(self, definition: SourceDefinition[Any]) -> Step:
        connector = definition(self._env)
        publisher = self._compiler.publisher(definition)
        metrics = self._step_metrics("publish", definition.name)
        if isinstance(connector, PushSource):
            return PushStep(
                definition.name,
                publisher,
                source=connector,
                make_producer=partial(kafka.producer, self._backbone),
                metrics=metrics,
            )
        group = f"{self._flow.name}.{definition.name}"
        return SourceStep(
            definition.name,
            definition.positions,
            publisher,
            build=cast(Callable[[], Source], partial(definition, self._env)),
            make_consumer=partial(kafka.consumer, self._backbone, group),
            make_producer=partial(
                kafka.producer, self._backbone, transactional_id=f"trunkline.{group}"
            ),
            newest_position=partial(
                kafka_read.last_record, self._backbone, definition.positions, group
            ),
            metrics=metrics,
        )

    def _routing(self, sinks: dict[str, Sink[Any]], batch: int) -> Step:
        flow = self._flow
        step = RoutingStep(
            self._compiler.router(sinks),
            sorted({route.topic.topic for route in flow.routes}),
            make_consumer=partial(kafka.consumer, self._backbone, f"{flow.name}.route"),
            make_producer=self._producer_of("route"),
            metrics=self._step_metrics("route", flow.name),
            batch=batch,
        )
        step.hand_over = self._app.agent("route", step.process)
        return step

    def _delivery(self, destination: Destination[Any, Any], sink: Sink[Any]) -> Step:
        step = DeliveryStep(
            sink,
            destination,
            decode=self._compiler.decoder_of(destination),
            learn=self._codec.learn,
            log=KafkaLog(
                self._backbone,
                f"{self._flow.name}.{destination.name}",
                kafka.unique_id(self._flow.name, destination.name),
            ),
            metrics=DeliveryMetrics(self._metrics, self._flow.name, destination.name),
        )
        step.hand_over = self._app.agent(f"deliver-{destination.name}", step.accept)
        return step

    def _producer_of(self, role: str) -> partial[Any]:
        id_ = kafka.unique_id(self._flow.name, role)
        return partial(kafka.producer, self._backbone, transactional_id=id_)

    def _step_metrics(self, step: str, name: str) -> StepMetrics:
        return StepMetrics(self._metrics, self._flow.name, step, name)
