"""Alerts of two workers that share a real control topic, to a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from trunkline import kafka
from trunkline.errors import Rejected
from trunkline.params import Backbone, Secret
from trunkline.streams.alerts.channels import Webhook
from trunkline.streams.alerts.manager import AlertManager
from trunkline.streams.alerts.unhandled import QueueCounter
from trunkline.streams.control.kafka_topic import KafkaControl, read_control
from trunkline.streams.control.records import HandledKey
from trunkline.streams.control.topic import control_topic
from trunkline.streams.dlq.envelope import dead_letter
from trunkline.streams.dlq.handled import Handled, HandledLetters
from trunkline.streams.dlq.queue import DeadLetterQueue


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


def test_what_nobody_has_handled_is_counted_in_the_queue(
    bootstrap: str, topic: Callable[[str], str]
) -> None:
    flow = topic("counted")
    backbone, dlq = Backbone(bootstrap=bootstrap), f"{flow}.erp.dlq"
    kafka.ensure_topics(backbone, [kafka.TopicSpec(dlq, 2)])
    producer = kafka.producer(backbone, transactional_id=flow)
    producer.init_transactions(30)
    for key in (b"a", b"b", b"c"):
        dead = dead_letter(
            dlq,
            key=key,
            value=b"{}",
            headers=[("tl_from", b"orders/1/7/1")],
            came_from=f"{flow}.erp.inbox/0/1",
            stage="deliver",
            error=Rejected("422"),
        )
        kafka.transact(producer, [dead])
    handled = Handled()
    for letter in DeadLetterQueue(backbone, dlq, HandledLetters({}, "erp")).letters():
        if letter.key != b"b":
            handled.add(letter.partition, letter.offset, letter.offset + 1)
    state = {HandledKey("erp", ("orders", 1)).text: handled.to_record()}

    def left(since: float, state: dict[str, Any]) -> int:
        letters = HandledLetters(state, "erp")
        return asyncio.run(QueueCounter(backbone, flow).unhandled("erp", since, letters))

    now = time.time()
    assert (left(now - 60, {}), left(now - 60, state)) == (3, 1)
    assert left(now + 60, {}) == 0, "of an episode that began later"
    letters = HandledLetters({}, "nobody")
    assert asyncio.run(QueueCounter(backbone, flow).unhandled("nobody", now, letters)) == 0


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
