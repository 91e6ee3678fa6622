"""Flows that publish one canonical topic are told of each other, on a real Kafka."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from trunkline import Flow, Params, Record, kafka
from trunkline.connectors.webhook import WebhookSource
from trunkline.params import Backbone
from trunkline.schemas.commerce import Order
from trunkline.streams.publish import publishers
from trunkline.streams.publish.publishers import TOPIC, Announcement, publishers_topic
from trunkline.streams.worker.process import Options, Worker
from worker_kit import eventually


@pytest.fixture
def backbone(bootstrap: str, registry_url: str) -> Backbone:
    made = Backbone(bootstrap=bootstrap, registry=registry_url, create=True)
    kafka.ensure_topics(made, [publishers_topic()])
    return made


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    names = (record.getMessage() for record in caplog.records if record.name == publishers.__name__)
    return [" ".join(text.split()[1:8]) for text in names]


def test_a_flow_that_runs_is_told_of_one_that_starts(
    backbone: Backbone,
    topic: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And workers of one flow, side by side and one after the other, of nobody."""
    monkeypatch.setattr(publishers, "INTERVAL", 0.1)
    orders, shop, desk = topic("orders"), topic("shop"), topic("desk")

    async def scene() -> None:
        running = [Announcement(backbone, shop, [orders]) for _ in range(2)]
        for one in running:
            one.start()
        await asyncio.to_thread(lambda: [one.exchange() for one in running])
        assert told(caplog) == []
        late = Announcement(backbone, desk, [orders])
        late.start()
        everybody = [*running, late]
        await asyncio.to_thread(
            eventually, lambda: all(one.others for one in everybody), "all are told"
        )
        for one in everybody:
            await one.stop()
        assert [one.failure for one in everybody] == [None] * 3

    with caplog.at_level(logging.WARNING):
        asyncio.run(scene())
    expected = [f"{orders} is published by the flow {other}," for other in (desk, desk, shop)]
    assert sorted(told(caplog)) == sorted(expected)


def test_a_worker_says_what_its_flow_publishes(
    backbone: Backbone, topic: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    flow, orders = Flow(topic("shop"), Params), topic("orders")

    @flow.source
    def hook(env: Params) -> WebhookSource:
        return WebhookSource(port=0, key="id")

    @flow.topic(orders, source=hook)
    def made(record: Record) -> Order:
        raise NotImplementedError

    other = Announcement(backbone, topic("desk"), [orders])
    assert other.exchange() == []

    async def scene() -> None:
        stop = asyncio.Event()
        worker = Worker(flow, Params(), backbone, Options(roles=["source"]))
        running = asyncio.create_task(worker.run(stop))
        await asyncio.to_thread(eventually, other.exchange, "the other flow is told")
        await asyncio.to_thread(eventually, lambda: told(caplog), "this one is told")
        stop.set()
        await running

    with caplog.at_level(logging.WARNING):
        asyncio.run(scene())
    assert [one.flow for one in other.exchange()] == [flow.name]


def test_without_the_topic_it_is_said_and_nothing_else_happens(
    backbone: Backbone, topic: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> Announcement:
        alone = Announcement(backbone, topic("shop"), [topic("orders")], topic=topic(TOPIC))
        alone.start()
        await asyncio.to_thread(eventually, lambda: caplog.records, "it is said")
        await alone.stop()
        return alone

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(scene()).failure is None
    assert "there is no topic" in caplog.text
