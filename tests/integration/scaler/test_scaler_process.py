"""A scaler as a process: a broker that goes and comes again, and its own end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from engine_kit import Scripted, delivering, eventually
from keda_kit import KedaClient, asking
from trunkline import Flow, kafka
from trunkline.local.kafka import Kafka
from trunkline.local.ports import free_port
from trunkline.local.process import Child
from trunkline.params import Backbone
from trunkline.scaler import watch
from trunkline.scaler.server import ScalerOptions, ScalerServer
from trunkline.streams.plan.topics import required_topics
from worker_kit import environ_of
from worker_kit import eventually as until

FLOW = '''"""Orders go to the ERP."""

from trunkline import Event, Flow, Params
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

flow = Flow("NAME", Params)
orders = flow.existing_topic("NAME.orders", Order)


@flow.destination
def erp(env: Params) -> HttpSink[Order]:
    return HttpSink("http://erp.example.com", Order)


@flow.route(orders, to=erp)
def every_order(order: Event[Order]) -> Order:
    return order.data
'''


class Broker:
    """A Kafka of one's own, which can go away and come again."""

    def __init__(self, home: Path) -> None:
        self._server = Kafka(home, free_port(), heap="256m")
        self._server.prepare()
        self.backbone = Backbone(bootstrap=self._server.address, partitions=1)
        self.start()

    def start(self) -> None:
        self._child = Child(self._server.command())
        self._child.wait_ready()

    def kill(self) -> None:
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.stop()

    def stop(self) -> None:
        self._child.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    running = Broker(tmp_path / "kafka")
    yield running
    running.stop()


def with_one_event(broker: Broker) -> Flow[Any]:
    flow = delivering(Scripted())
    kafka.ensure_topics(broker.backbone, required_topics(flow, 1))
    producer = kafka.producer(broker.backbone)
    kafka.produce(producer, [(flow.destinations[0].inbox, b"k", b"v", [])])
    assert producer.flush(30) == 0
    return flow


async def answer(keda: KedaClient) -> bool | None:
    """Whether it is active; None: the round was an error."""
    try:
        values, active = await keda.round()
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return None
        raise
    assert bool(values["workers"]) == active
    return active


async def answers(keda: KedaClient, wanted: bool | None, heard: set[bool | None]) -> None:
    """Ask until that is the answer, and note all that is answered."""
    async with asyncio.timeout(60):
        while (said := await answer(keda)) != wanted:
            heard.add(said)
            await asyncio.sleep(0.1)
        heard.add(said)


def test_while_the_broker_is_away_nothing_is_answered_for_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was known holds for a while, then the answer is an error, and never "no work"."""
    monkeypatch.setattr(watch, "KNOWN_FOR", 4.0)
    flow = with_one_event(broker)

    async def test() -> None:
        stop, heard = asyncio.Event(), set[bool | None]()
        server = ScalerServer({flow.name: flow}, broker.backbone, ScalerOptions(port=0))
        serving = asyncio.create_task(server.run(stop))
        await server.started.wait()
        async with asking(f"127.0.0.1:{server.ports[0]}", flow=flow.name, step="deliver") as keda:
            await answers(keda, True, set())
            await asyncio.to_thread(broker.kill)
            heard.add(await answer(keda))
            assert heard == {True}, "what was known holds"
            await answers(keda, None, heard)
            await asyncio.to_thread(broker.start)
            await answers(keda, True, heard)
            assert heard == {True, None}
            assert keda.pushed[0] is True
            assert False not in keda.pushed
            stop.set()
            await asyncio.wait_for(serving, 30)
            await eventually(lambda: keda.ends == ["OK"], "the stream ends well")

    asyncio.run(test())


def test_the_command_serves_until_sigterm(
    bootstrap: str, registry_url: str, tmp_path: Path
) -> None:
    name = f"scaled-{time.time_ns():x}"
    flow = tmp_path / "erp.py"
    flow.write_text(FLOW.replace("NAME", name))
    port, health = free_port(), free_port()
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    command = [sys.executable, "-m", "trunkline", "scaler", str(flow), "--port", str(port)]
    command += ["--health-port", str(health), "--log-format", "text"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environ_of(backbone)}, stdout=log, stderr=log
        )
    try:
        until(lambda: page(health, "/readyz"), "it is ready")

        async def test() -> None:
            async with asking(f"127.0.0.1:{port}", flow=str(flow), step="route") as keda:
                assert await keda.round() == ({"workers": 1.0}, True)  # a worker makes the topics
                figures = page(health, "/metrics")
                assert (
                    f'trunkline_scaler_active{{flow="{name}",name="",step="route"}} 1.0' in figures
                )
                process.send_signal(signal.SIGTERM)
                await eventually(lambda: keda.ends == ["OK"], "the stream ends well")

        asyncio.run(test())
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
    assert "ready: KEDA's calls at" in (tmp_path / "log").read_text()


def page(port: int, path: str) -> str:
    """A health page; "" while there is none, or it says no."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
            return str(found.read().decode())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return ""
