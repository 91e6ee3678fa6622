"""A broker that is killed and comes back: workers go on by themselves, and keep every promise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from broker import Broker
from proof import disorders, ids_by_key, repeats, through
from worker_kit import Destination, Feed, Workers, eventually, header, read

from trunkline.params import Backbone

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
