"""Which steps a worker has, in which order they stop, and whom their dead letters concern."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from threading import Event as Stop
from typing import Any

import pytest

from delivery_kit import Env, Erp
from trunkline import Event, Flow, Record, System
from trunkline.connectors.base import Batch, Position, Publish, PushSource, Source
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.schemas.commerce import Order
from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.alerts.settings import AlertSettings
from trunkline.streams.deliver.step import DeliveryStep
from trunkline.streams.metrics import Metrics
from trunkline.streams.publish.push_step import ANSWER_TIMEOUT, PushStep
from trunkline.streams.publish.source_step import SourceStep
from trunkline.streams.quota.limiter import QuotaGate
from trunkline.streams.replay.step import ReplayStep
from trunkline.streams.route.step import RoutingStep
from trunkline.streams.worker import assembly
from trunkline.streams.worker.assembly import Assembly
from trunkline.streams.worker.faust_app import FlowApp
from trunkline.testing.registry import MemoryRegistry


class Database(Source):
    """A source with a position."""

    def read(self, position: Position | None, stop: Stop) -> Iterator[Batch]:
        yield from ()

    def acknowledge(self, position: Position) -> None: ...


class Hook(PushSource):
    """A source that calls us."""

    async def start(self, publish: Publish) -> None: ...

    async def stop(self) -> None: ...


def two_sources(**policy: Any) -> Flow[Env]:
    """Orders of a database and of a hook reach an ERP."""
    flow = Flow("sales", Env)

    @flow.source
    def shop(env: Env) -> Database:
        return Database()

    @flow.source
    def desk(env: Env) -> Hook:
        return Hook()

    @flow.topic("orders", source=[shop, desk])
    def orders(record: Record) -> Order:
        return Order(id=record.key, status="paid", total_cents=1)

    @flow.destination(**policy)
    def erp(env: Env) -> Erp:
        return Erp(1, 1)

    @flow.route(orders, to=erp)
    def everything(order: Event[Order]) -> Order:
        return order.data

    return flow


def assembled(flow: Flow[Env], scene: Callable[[Assembly], Any]) -> Any:
    """What ``scene`` makes of the flow's assembly, which connects to nothing."""

    async def inside() -> Any:
        app = FlowApp(flow.name, Metrics(), host="127.0.0.1", port=None)
        backbone = Backbone(bootstrap="127.0.0.1:1", registry="http://127.0.0.1:1", create=True)
        return scene(Assembly(flow, Env(), backbone, app, app.metrics, AlertSettings()))

    return asyncio.run(inside())


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "registry_of", lambda backbone: MemoryRegistry())


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["source"], [SourceStep, PushStep]),
        (["route"], [ReplayStep, RoutingStep]),
        (["deliver"], [DeliveryStep]),
        (
            ["deliver", "route", "source"],
            [SourceStep, PushStep, ReplayStep, RoutingStep, DeliveryStep],
        ),
    ],
    ids=["source", "route", "deliver", "all"],
)
def test_steps_are_those_of_the_roles_in_the_order_in_which_they_stop(
    roles: list[str], expected: list[type]
) -> None:
    steps = assembled(two_sources(), lambda made: made.steps(roles, batch=100))
    assert [type(step) for step in steps] == expected


def test_a_callers_records_are_given_up_before_the_caller_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kafka's own patience is five minutes; a caller listens for ten seconds."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(assembly.kafka, "producer", lambda *_, **more: asked.append(more))

    def push_step(made: Assembly) -> None:
        (step,) = [s for s in made.steps(["source"], batch=100) if isinstance(s, PushStep)]
        asked.clear()
        step._make_producer()

    assembled(two_sources(), push_step)
    assert asked == [{"timeout": ANSWER_TIMEOUT}]


def test_a_worker_of_sources_alone_builds_no_sink() -> None:
    flow = Flow("sales", Env)

    @flow.source
    def shop(env: Env) -> Database:
        return Database()

    @flow.topic("orders", source=shop)
    def orders(record: Record) -> Order:
        raise NotImplementedError

    @flow.destination
    def erp(env: Env) -> Erp:
        raise AssertionError("its password is not in this worker's environment")

    @flow.route(orders, to=erp)
    def everything(order: Event[Order]) -> Order:
        return order.data

    assert len(assembled(flow, lambda made: made.steps(["source"], batch=100))) == 1


def test_a_stream_that_no_topic_takes_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = two_sources()
    (orders,) = flow.topics
    orders.streams = ("shop", "dekst")
    monkeypatch.setattr(Database, "streams", lambda self: ["shop", "log"])
    monkeypatch.setattr(Hook, "streams", lambda self: ["desk"])
    with pytest.raises(ConfigurationError) as refused:
        assembled(flow, lambda made: made.steps(["source"], batch=100))
    for said in (
        r"test_assembly\.py:\d+: source shop: no topic takes its stream 'log': name it in stream=",
        r"topic orders: stream='dekst': shop and desk give no such stream; did you mean 'desk'\?",
    ):
        assert re.search(said, str(refused.value))
    assert assembled(flow, lambda made: made.steps(["deliver"], batch=100))  # builds no source


def test_replays_write_in_the_transactions_of_the_routing_step() -> None:
    replays, routing = assembled(two_sources(), lambda made: made.steps(["route"], batch=100))
    assert replays._context.transactions is routing._transactions
    assert routing._listener is replays


def test_dead_letters_of_a_route_are_those_of_its_destination() -> None:
    def scene(made: Assembly) -> list[str]:
        (_, routing) = made.steps(["route"], batch=100)
        assert isinstance(routing, RoutingStep)
        error = LookupError("no such key")
        routing._outcome_listener.on_dead_lettered("sales.erp.dlq", 3, error)
        monitor = made._alerts.monitor("erp")
        return [observation.error for observation in monitor.observations()]

    assert assembled(two_sources(), scene) == ["LookupError: no such key"]


def test_limits_over_all_workers_are_only_there_for_who_has_some() -> None:
    def has_quota(made: Assembly) -> bool:
        made.steps(["deliver"], batch=100)
        return made._quota is not None

    assert not assembled(two_sources(), has_quota)
    assert assembled(two_sources(rate="50/s"), has_quota)
    assert assembled(two_sources(system=System("erp", concurrent=5)), has_quota)


def test_a_share_of_a_limit_wakes_the_step_that_waits_for_it() -> None:
    def scene(made: Assembly) -> None:
        (step,) = made.steps(["deliver"], batch=100)
        assert isinstance(step, DeliveryStep)
        assert isinstance(step.gate, AdmissionController)
        (limit,) = [gate for gate in step.gate._all if isinstance(gate, QuotaGate)]
        assert limit.on_capacity == step.wake

    assembled(two_sources(rate="50/s"), scene)


def test_each_destination_has_a_supervisor_whose_failure_ends_the_worker() -> None:
    def supervisors(made: Assembly) -> int:
        before = len(made.parts)
        made.steps(["deliver"], batch=100)
        return len(made.parts) - before

    assert assembled(two_sources(), supervisors) == 1
