"""The control topics of several flows, followed by one consumer and written by one producer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from engine_kit import PATIENCE, eventually
from trunkline import kafka
from trunkline.kafka import follower
from trunkline.params import Backbone
from trunkline.streams.control.clients import ControlClients
from trunkline.streams.control.kafka_topic import KafkaControl
from trunkline.streams.control.topic import control_topic


@pytest.fixture
def backbone(bootstrap: str) -> Backbone:
    return Backbone(bootstrap=bootstrap)


@pytest.fixture
def flows(backbone: Backbone, topic: Callable[[str], str]) -> list[str]:
    """Three flows with control topics."""
    names = [topic(f"shared-{number}") for number in range(3)]
    kafka.ensure_topics(backbone, [control_topic(name) for name in names])
    return names


def following() -> int:
    """How many threads follow topics."""
    return sum(thread.name == "follow" for thread in threading.enumerate())


async def followed(backbone: Backbone, flow: str, clients: ControlClients) -> KafkaControl:
    control = KafkaControl(backbone, f"{flow}.control", clients)
    await asyncio.wait_for(control.start(), PATIENCE)
    return control


def test_each_hears_of_its_own_topic_in_order_while_others_come_and_go(
    backbone: Backbone, flows: list[str]
) -> None:
    async def run() -> None:
        clients = ControlClients(backbone)
        one, two, three = [await followed(backbone, flow, clients) for flow in flows]
        assert following() == 1
        seen: dict[str, list[Any]] = {"one": [], "two": []}
        one.subscribe("k", lambda key, value: seen["one"].append(value))
        two.subscribe("k", lambda key, value: seen["two"].append(value))
        puts = [c.put("k", {"n": n}) for n in range(50) for c in (one, two)]
        await asyncio.gather(three.stop(), *puts)
        again = await followed(backbone, flows[2], clients)
        await again.put("back", {"n": 1})
        await eventually(lambda: again.state, "the third follows again")
        await eventually(lambda: len(seen["one"]) == len(seen["two"]) == 50, "all came back")
        assert seen["one"] == seen["two"] == [{"n": n} for n in range(50)]
        assert again.state == {"back": {"n": 1}}
        await asyncio.gather(*(control.stop() for control in (one, two, again)))
        await eventually(lambda: following() == 0, "nobody follows any more")
        late = await followed(backbone, flows[0], clients)  # a new thread takes it up
        assert late.state == {"k": {"n": 49}}
        await late.put("k", None)
        await eventually(lambda: not late.state, "it follows")
        await late.stop()

    asyncio.run(run())


def test_a_client_that_can_never_go_on_is_told_to_all_and_replaced(
    backbone: Backbone, flows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = threading.Event()
    polling = follower.poll

    def poll(*arguments: Any) -> Any:
        if broken.is_set():
            broken.clear()
            raise KafkaException(KafkaError(KafkaError._FATAL, "it is over"))
        return polling(*arguments)

    async def run() -> None:
        clients = ControlClients(backbone)
        controls = [await followed(backbone, flow, clients) for flow in flows]
        monkeypatch.setattr(follower, "poll", poll)
        broken.set()
        await eventually(lambda: all(c.failure for c in controls), "all are told")
        await asyncio.gather(*(control.stop() for control in controls))
        again = await followed(backbone, flows[0], clients)
        await again.put("k", {"n": 1})
        await eventually(lambda: again.state == {"k": {"n": 1}}, "another client follows")
        assert again.failure is None
        await again.stop()

    asyncio.run(run())


def test_a_stop_gives_up_its_own_write_and_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka is away. The one that ends waits a moment more, the other one goes on waiting."""
    monkeypatch.setattr("trunkline.streams.control.kafka_topic.STOP_TIMEOUT", 0.2)

    async def run() -> None:
        away = Backbone(bootstrap="127.0.0.1:1")
        clients = ControlClients(away)
        ending, staying = (KafkaControl(away, f"{n}.control", clients) for n in ("a", "b"))
        writes = [asyncio.create_task(c.put("k", {})) for c in (ending, staying)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await ending.stop()
        assert time.monotonic() - began < 10
        with pytest.raises(kafka.KafkaUnavailable):
            await writes[0]
        assert not writes[1].done()
        await staying.stop()
        with pytest.raises(kafka.KafkaUnavailable):
            await writes[1]

    asyncio.run(run())
