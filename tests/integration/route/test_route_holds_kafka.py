"""Partitions that are held, on real Kafka: through a kill, with everything that can be seen."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from confluent_kafka import TopicPartition

from trunkline import kafka
from trunkline.admin import destination_status
from trunkline.admin.targets import Target
from trunkline.params import Backbone
from worker_kit import Feed, WorkerProcess, Workers, environ_of, eventually, header, read

FLOW = Path(__file__).with_name("holding_flow.py")


@pytest.fixture
def backbone(bootstrap: str, registry_url: str) -> Backbone:
    return Backbone(bootstrap=bootstrap, registry=registry_url)


@contextmanager
def workers(backbone: Backbone, name: str, home: Path) -> Iterator[Workers]:
    environ = environ_of(backbone, flow=name, down=str(home / "down"))
    with Workers(FLOW, home, environ) as running:
        yield running


def offsets(backbone: Backbone, topic: str) -> dict[int, list[int]]:
    """Of which canonical events records were made, by partition, in their order in the inbox."""
    found: dict[int, list[int]] = defaultdict(list)
    for message in read(backbone, topic):
        _, partition, offset, *_ = header(message, "tl_from").split("/")
        found[int(partition)].append(int(offset))
    return found


def page(worker: WorkerProcess, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{worker.port}{path}")


def test_a_held_partition_survives_a_kill_and_nothing_comes_twice(
    backbone: Backbone, tmp_path: Path
) -> None:
    """First the very first event is held, then some are routed before it."""
    name = f"holding-{uuid.uuid4().hex[:8]}"
    inbox, feed = f"{name}.api.inbox", Feed(backbone, f"{name}.orders")
    (tmp_path / "down").touch()
    feed.raw(b"slow", feed.value("slow", 0, "ask"))
    feed.flush()
    with workers(backbone, name, tmp_path) as running:
        (first,) = running.started("route")
        eventually(lambda: first.says("is held, others go on"), "it is held")
        feed.orders((f"k{number}", number) for number in range(300))
        feed.raw(b"slow", feed.value("slow", 1))
        feed.flush()
        place = held_place(backbone, feed.topic)
        others = {at: n for at, n in ends(backbone, feed.topic).items() if at != place}
        eventually(
            lambda: {at: len(n) for at, n in offsets(backbone, inbox).items()} == others,
            "the other partitions are routed",
        )
        held = f"{feed.topic}/{place}"
        eventually(lambda: page(first, "/readyz").json() == {"ready": True, "held": [held]}, held)
        eventually(lambda: "trunkline_held_partitions{" in page(first, "/metrics").text, "metric")
        target = Target(name, "api")
        eventually(lambda: destination_status(backbone, target).routing, "the status tells")
        (told,) = destination_status(backbone, target).routing[0].held
        assert (told.key, told.place) == ("slow", f"{held}/0")
        assert told.error == "Unavailable: the customers' service is down"
        running.kill(first)
        (second,) = running.started("route")
        eventually(lambda: second.says("is held, others go on"), "it is held again")
        (tmp_path / "down").unlink()
        everything = {at: list(range(n)) for at, n in ends(backbone, feed.topic).items()}
        eventually(lambda: offsets(backbone, inbox) == everything, "each once, and in order")
        eventually(lambda: page(second, "/readyz").json()["held"] == [], "nothing is held")
        feed.orders([("slow", 2)])
        everything = {at: list(range(n)) for at, n in ends(backbone, feed.topic).items()}
        eventually(lambda: offsets(backbone, inbox) == everything, "its partition is read on")
        running.stop()
    assert read(backbone, f"{name}.api.dlq") == []


def held_place(backbone: Backbone, topic: str) -> int:
    """The partition of the key that is held."""
    return next(m.partition() or 0 for m in read(backbone, topic) if m.key() == b"slow")


def ends(backbone: Backbone, topic: str) -> dict[int, int]:
    """How many events each partition has that has any."""
    found: dict[int, int] = defaultdict(int)
    for message in read(backbone, topic):
        found[message.partition() or 0] += 1
    return dict(found)


def test_a_worker_stops_cleanly_while_a_partition_is_held(
    backbone: Backbone, tmp_path: Path
) -> None:
    name = f"holding-{uuid.uuid4().hex[:8]}"
    feed = Feed(backbone, f"{name}.orders")
    (tmp_path / "down").touch()
    feed.raw(b"slow", feed.value("slow", 0, "ask"))
    feed.orders((f"k{number}", number) for number in range(50))
    with workers(backbone, name, tmp_path) as running:
        (worker,) = running.started("route")
        eventually(lambda: worker.says("is held, others go on"), "it is held")
        running.stop()
    place = held_place(backbone, feed.topic)
    group = kafka.consumer(backbone, f"{name}.route")
    try:
        (at,) = group.committed([TopicPartition(feed.topic, place)], timeout=30)
    finally:
        group.close()
    assert at.offset <= 0
