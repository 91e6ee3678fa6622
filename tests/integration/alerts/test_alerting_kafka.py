"""Alerts of two workers that share a real control topic, to a real HTTP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from trunkline import kafka
from trunkline.errors import Rejected
from trunkline.params import Backbone, Secret
from trunkline.streams.alerts.channels import Webhook
from trunkline.streams.alerts.manager import AlertManager
from trunkline.streams.control.kafka_topic import KafkaControl, read_control
from trunkline.streams.control.topic import control_topic


@asynccontextmanager
async def worker(backbone: Backbone, flow: str, name: str, url: str) -> AsyncIterator[AlertManager]:
    control = KafkaControl(backbone, control_topic(flow).name)
    await control.start()
    channel = Webhook(Secret(url), token=None, secret=None)
    alerts = AlertManager(control, [channel], flow=flow, worker=name)
    await alerts.start()
    try:
        yield alerts
    finally:
        await alerts.stop()
        await control.stop()
        assert alerts.failure is None


def test_two_workers_tell_once_and_a_third_does_not_tell_again(
    bootstrap: str, topic: Callable[[str], str]
) -> None:
    flow = topic("alerting")
    backbone = Backbone(bootstrap=bootstrap)
    kafka.ensure_topics(backbone, [control_topic(flow)])
    bodies: list[dict[str, object]] = []
    arrived = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        bodies.append(json.loads(await request.read()))
        arrived.set()
        return web.Response()

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/", take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with worker(backbone, flow, "a", url) as a, worker(backbone, flow, "b", url) as b:
            a.monitor("warehouse").dead_lettered(2, Rejected("422"))
            b.monitor("warehouse").dead_lettered(3, Rejected("422"))
            await asyncio.wait_for(arrived.wait(), 30)
        async with worker(backbone, flow, "c", url) as c:
            c.evaluate()
        await runner.cleanup()

    asyncio.run(run())
    assert [(body["state"], body["amount"]) for body in bodies] == [("firing", 5)]
    value = read_control(backbone, control_topic(flow).name)["alert/deliver/warehouse/dead_letters"]
    assert (value["state"], value["notified"]) == ("firing", 1)
