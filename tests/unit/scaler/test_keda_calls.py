"""KEDA's calls over gRPC, with a client that behaves as KEDA's does: a row of its contract each."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import grpc
import grpc.aio
import pytest

from engine_kit import Env, Scripted, delivering, eventually
from keda_kit import KedaClient, asking, serving
from trunkline import Flow
from trunkline.connectors.webhook import WebhookSource
from trunkline.scaler import service
from trunkline.scaler.demand import Facts
from trunkline.scaler.keda import externalscaler_pb2 as pb
from trunkline.scaler.reader import Trouble
from trunkline.scaler.steps import Catalogue, StepKey
from trunkline.scaler.watch import Watches

FILE = "flows/erp.py"


class World:
    """A flow's delivery, of which a test says what is known."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        flow = delivering(Scripted())
        listening: Flow[Env] = Flow("listening", Env)

        @listening.source
        def notices(env: Env) -> WebhookSource:
            raise AssertionError("no builder runs")

        self.key = StepKey(flow.name, "deliver", "erp")
        flows: dict[str, Flow[Any]] = {FILE: flow, "flows/notices.py": listening}
        self.watches = Watches(Catalogue(flows), lambda: self.now, 15.0)

    def known(self, events: int = 0) -> None:
        """So many events can be sent now, half of them in each of two partitions."""
        ready = {n: [0.0] * (events // 2) for n in (0, 1)} if events else {}
        self.watches.take({self.key: Facts(self.now, ready=ready)})


@pytest.fixture
def world() -> World:
    return World()


def run(world: World, test: Any) -> None:
    """``test`` with a client of the delivery, in an event loop of its own."""

    async def whole() -> None:
        async with (
            serving(world.watches) as (address, scaler),
            asking(address, flow=FILE, step="deliver") as keda,
        ):
            await test(keda, scaler)

    asyncio.run(whole())


def test_a_round_says_how_many_and_whether_any(world: World) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        world.known(4_500)
        assert await keda.specification() == [("workers", 1.0)]
        assert await keda.round() == ({"workers": 1.5}, True)
        world.known()
        assert await keda.round() == ({"workers": 0.0}, False)

    run(world, test)


def test_nothing_is_nothing_in_the_old_field_too(world: World) -> None:
    """KEDA takes the whole number where the float is 0; and older ones know nothing else."""

    async def test(keda: KedaClient, scaler: Any) -> None:
        for events, whole in ((0, 0), (30, 1), (4_500, 2)):
            world.known(events)
            ref = pb.ScaledObjectRef(scalerMetadata={"flow": FILE, "step": "deliver"})
            asked = pb.GetMetricsRequest(scaledObjectRef=ref, metricName="workers")
            (value,) = (await keda.ask("GetMetrics", asked)).metricValues
            assert value.metricValue == whole
            assert bool(value.metricValueFloat) == bool(events)

    run(world, test)


def test_the_stream_tells_each_change_once(world: World) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        world.known()
        await eventually(lambda: keda.pushed == [False], "it is told")
        for _ in range(3):  # it goes on to be so: a repeated true would put off the sleep
            world.known(10)
        await eventually(lambda: keda.pushed == [False, True], "it is told")
        world.known()
        await eventually(lambda: keda.pushed == [False, True, False], "it is told")
        for _ in range(3):
            await keda.round()
            world.watches.tick()
        assert len(keda.pushed) == 3

    run(world, test)


def test_what_was_told_is_not_told_again_after_a_gap(world: World) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        world.known(10)
        await eventually(lambda: keda.pushed == [True], "it is told")
        world.now += 121  # nothing is known any more
        world.watches.tick()
        with pytest.raises(grpc.aio.AioRpcError):
            await keda.round()
        world.known(10)
        assert (await keda.round())[1]
        world.known()
        await eventually(lambda: keda.pushed == [True, False], "it is told")

    run(world, test)


def test_a_due_time_is_pushed_without_any_call(world: World) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        world.watches.take({world.key: Facts(world.now, ready={0: [world.now + 60]})})
        await eventually(lambda: keda.pushed == [False], "it is told")
        assert await keda.round() == ({"workers": 0.0}, False)
        world.now += 45
        world.watches.tick()
        await eventually(lambda: keda.pushed == [False, True], "it is told")
        assert await keda.round() == ({"workers": 0.0}, True)

    run(world, test)


def test_a_stream_that_is_opened_while_active_hears_so(world: World) -> None:
    """What was pushed while no stream was open would be lost else."""

    async def test(keda: KedaClient, scaler: Any) -> None:
        world.known(10)
        await eventually(lambda: keda.pushed == [True], "it is told")

    run(world, test)


def test_while_nothing_is_known_calls_fail_and_streams_stay_open(world: World) -> None:
    """An error leaves the replicas as they are; a stream that ended with one would be opened again
    a minute later."""

    async def test(keda: KedaClient, scaler: Any) -> None:
        for trouble in ("it was not looked at yet", "topics are missing: erp.inbox"):
            with pytest.raises(grpc.aio.AioRpcError, match=trouble) as failed:
                await keda.round()
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
            world.watches.take({world.key: Trouble("topics are missing: erp.inbox")})
        assert (keda.pushed, keda.ends) == ([], [])
        world.known(10)
        await eventually(lambda: keda.pushed == [True], "it is told")

    run(world, test)


def test_what_was_known_holds_for_two_minutes_and_is_never_nothing(world: World) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        world.known(4_500)
        world.watches.failed("Kafka does not answer")
        world.now += 120
        assert await keda.round() == ({"workers": 1.5}, True)
        world.now += 1
        with pytest.raises(grpc.aio.AioRpcError, match="2 min ago: Kafka does not answer"):
            await keda.round()
        world.known(10)
        assert (await keda.round())[1]

    run(world, test)


def test_the_specification_is_streamed_at_once_and_the_same(world: World) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        following = asyncio.create_task(keda.follow_specification())
        await eventually(lambda: bool(keda.specs), "it is told")
        assert keda.specs == [await keda.specification()]
        scaler.stop()
        await following
        assert "OK" in keda.ends

    run(world, test)


def test_all_streams_end_well_when_it_stops(world: World) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        world.known()
        await eventually(lambda: bool(keda.pushed), "it is told")
        scaler.stop()
        await eventually(lambda: keda.ends == ["OK"], "it is told")

    run(world, test)


def test_streams_end_well_now_and_then(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STREAM_LASTS", 0.05)

    async def test(keda: KedaClient, scaler: Any) -> None:
        world.known(10)
        await eventually(lambda: keda.ends == ["OK"], "it is told")
        assert keda.pushed == [True]

    run(world, test)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"flow": "flows/other.py", "step": "deliver"}, "is none of this scaler's"),
        ({"flow": FILE, "step": "send"}, "it is source, route, deliver"),
        ({"flow": FILE, "step": "deliver", "destination": "crm"}, "no destination 'crm'"),
        ({"flow": FILE, "step": "source", "destination": "erp"}, "'erp' for source"),
        ({}, "flow '' is none"),
    ],
)
def test_what_there_is_not_is_refused(world: World, metadata: dict[str, str], said: str) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        ref = pb.ScaledObjectRef(scalerMetadata=metadata)
        for call in ("IsActive", "GetMetricSpec"):
            with pytest.raises(grpc.aio.AioRpcError, match=said) as failed:
                await keda.ask(call, ref)
            assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(world, test)


def test_a_metric_that_there_is_not_is_refused(world: World) -> None:
    async def test(keda: KedaClient, scaler: Any) -> None:
        ref = pb.ScaledObjectRef(scalerMetadata={"flow": FILE, "step": "deliver"})
        with pytest.raises(grpc.aio.AioRpcError, match="there is no metric 'lag'"):
            await keda.ask(
                "GetMetrics", pb.GetMetricsRequest(scaledObjectRef=ref, metricName="lag")
            )

    run(world, test)


def test_a_source_always_runs(world: World) -> None:
    """What reads a change log, or listens, has nobody to wake it."""

    async def test(keda: KedaClient, scaler: Any) -> None:
        ref = pb.ScaledObjectRef(scalerMetadata={"flow": "listening", "step": "source"})
        assert (await keda.ask("IsActive", ref)).result

    run(world, test)


def test_a_step_that_a_flow_has_not_is_nothing_to_do(world: World) -> None:
    """The workload of several flows has one set of steps for all of them."""

    async def test(keda: KedaClient, scaler: Any) -> None:
        for flow, step in ((FILE, "source"), ("listening", "deliver"), ("listening", "route")):
            ref = pb.ScaledObjectRef(scalerMetadata={"flow": flow, "step": step})
            assert not (await keda.ask("IsActive", ref)).result

    run(world, test)


def test_the_messages_are_what_the_protocol_says() -> None:
    made = [sys.executable, "-m", "trunkline.scaler.keda.generate", "--check"]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_protocol_has_the_calls_of_keda_2_21() -> None:
    called = [(m.name, m.server_streaming) for m in
              pb.DESCRIPTOR.services_by_name["ExternalScaler"].methods]  # fmt: skip
    assert called == [
        ("IsActive", False),
        ("StreamIsActive", True),
        ("GetMetricSpec", False),
        ("GetMetrics", False),
        ("StreamMetricSpec", True),
    ]
