"""A broker that is killed and comes back: workers go on by themselves, and keep every promise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from broker import Broker
from checker import disorders, ids_by_key, repeats, through
from confluent_kafka import Producer

from trunkline import kafka
from trunkline.params import Backbone
from worker_kit import PATIENCE, Destination, Feed, Workers, eventually, header, read

TOTAL = 15_000
AHEAD = 12_000
"""Events that a worker may deliver without a commit: its room and a last micro-batch."""


@pytest.fixture
def backbone(broker: Broker, registry_url: str) -> Backbone:
    return Backbone(bootstrap=broker.address, registry=registry_url)


def test_workers_go_on_when_the_broker_is_back(
    backbone: Backbone,
    broker: Broker,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url)
    destination.delay = 0.01  # so that it is busy when the broker dies
    orders = ((f"k{number % 50}", number) for number in range(TOTAL))
    writer = threading.Thread(target=feed.orders, args=[orders])
    writer.start()
    workers.started("route", "deliver")
    eventually(lambda: len(destination.deliveries) > 1000, "it delivers")
    broker.kill()
    killed = time.monotonic()
    broker.up()
    writer.join()
    canonical = ids_by_key(read(backbone, f"{name}.orders"))
    eventually(lambda: through(canonical, destination), "everything is delivered", 120)
    workers.stop()
    inbox = read(backbone, f"{name}.api.inbox")
    assert len({header(message, "tl_from") for message in inbox}) == len(inbox) == TOTAL
    assert ids_by_key(inbox) == canonical
    assert disorders(canonical, destination.deliveries) == {}
    assert repeats(destination.deliveries, [killed]).total <= AHEAD
    assert read(backbone, f"{name}.api.dlq") == []


def test_transactions_that_were_open_when_the_broker_died_are_aborted(
    backbone: Backbone, broker: Broker, name: str, feed: Feed
) -> None:
    """Else nobody would ever read past them, as with a Kafka that has KAFKA-20734."""
    for number in range(20):
        leave_open(backbone, f"{name}-{number}", feed.topic)
    broker.kill()
    broker.up()
    feed.orders((f"k{number}", number) for number in range(100))
    eventually(lambda: len(read(backbone, feed.topic)) == 100, "what follows them is read")


def leave_open(backbone: Backbone, id: str, topic: str) -> None:
    """A transaction with a record in each partition that nobody ends; already too old."""
    settings = {"transactional.id": id, "transaction.timeout.ms": 1000}
    producer = Producer(kafka.settings(backbone, **settings))
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    for partition in range(4):
        producer.produce(topic, b"open", partition=partition)
    assert producer.flush(PATIENCE) == 0
