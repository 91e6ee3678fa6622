"""Stopping, starting and scaling without a crash: nothing is repeated, nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

from checker import disorders, ids_by_key, repeats

from trunkline.local.ports import free_port
from trunkline.params import Backbone
from worker_kit import Destination, Feed, Workers, eventually, header, read

KEYS = 50


def numbered(count: int, first: int = 0) -> list[tuple[str, int]]:
    """Orders of KEYS keys, each with growing numbers."""
    return [(f"k{number % KEYS}", number) for number in range(first, first + count)]


def assert_routed_once(backbone: Backbone, name: str, count: int) -> dict[str, list[str]]:
    """Each canonical event stands in the inbox once; its ids by key, in order."""
    canonical = read(backbone, f"{name}.orders")
    inbox = read(backbone, f"{name}.api.inbox")
    origins = [header(message, "tl_from") for message in inbox]
    assert len(set(origins)) == len(origins), "an event was routed twice"
    assert ids_by_key(inbox) == ids_by_key(canonical)
    assert len(inbox) == count
    return ids_by_key(inbox)


def test_sigterm_finishes_and_commits_so_that_a_restart_repeats_nothing(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url)
    destination.delay = 0.02  # deliveries are under way when the signal comes
    for part in range(2):
        feed.orders(numbered(2250, part * 2250))
        workers.start("route,deliver")
        so_far = len(destination.deliveries)
        eventually(lambda n=so_far: len(destination.deliveries) > n + 300, "it delivers")
        workers.stop()
    workers.start("route,deliver")
    eventually(lambda: len(destination.deliveries) >= 4500, "everything is delivered")
    workers.stop()
    expected = assert_routed_once(backbone, name, 4500)
    assert disorders(expected, destination.deliveries) == {}
    assert repeats(destination.deliveries, []).total == 0


def test_scaling_up_and_down_repeats_nothing(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url)
    destination.delay = 0.01
    total = 8_000
    writer = threading.Thread(target=feed.orders, args=[numbered(total)])
    writer.start()
    workers.started("route", "deliver")
    workers.started("route", "deliver", "route", "deliver")
    assert len(destination.deliveries) < total, "it was through before it was scaled"
    workers.stop(*(w for role in ("route", "deliver") for w in workers.of(role)[:-1]))
    writer.join()
    eventually(lambda: len(destination.deliveries) >= total, "everything is delivered")
    workers.stop()
    expected = assert_routed_once(backbone, name, total)
    assert disorders(expected, destination.deliveries) == {}
    assert repeats(destination.deliveries, []).total == 0


def test_a_worker_that_was_frozen_is_fenced(
    backbone: Backbone,
    name: str,
    feed: Feed,
    destination: Destination,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url)
    total = 20_000
    sleeper, other = workers.start("route"), workers.start("route")
    eventually(lambda: sleeper.partitions == other.partitions == 2, "both route")
    writer = threading.Thread(target=feed.orders, args=[numbered(total)])
    writer.start()
    eventually(lambda: read(backbone, f"{name}.api.inbox"), "events are routed")
    sleeper.freeze()
    writer.join()
    eventually(lambda: other.partitions == 4, "the other takes over")
    sleeper.wake()
    eventually(lambda: sleeper.says("lost"), "the sleeper learns it")
    eventually(lambda: len(read(backbone, f"{name}.api.inbox")) >= total, "all are routed")
    workers.stop()
    assert_routed_once(backbone, name, total)


def test_a_delivering_worker_that_was_frozen_sends_nothing_when_it_wakes(
    feed: Feed, destination: Destination, workers_of: Callable[..., Workers]
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url, patience="60")
    total = 3_000
    feed.orders(numbered(total))
    destination.delay = 0.1  # so that it waits for answers when it is frozen
    (_, sleeper) = workers.started("route", "deliver")
    eventually(lambda: len(destination.deliveries) > 300, "it delivers")
    sleeper.freeze()
    destination.delay = 0
    workers.start("deliver")
    eventually(lambda: len({d.id for d in destination.deliveries}) == total, "the other delivers")
    known = len(destination.deliveries)
    sleeper.wake()
    eventually(lambda: sleeper.says("lost"), "the sleeper learns it")
    workers.stop()
    # What was frozen between the look at its lease and the socket goes on (docs/guarantees.md).
    # Without the lease it would be all that it had in memory: a thousand and more.
    assert len(destination.deliveries) - known <= 10


def test_a_worker_whose_system_is_not_there_yet_stops_cleanly(
    destination: Destination, workers_of: Callable[..., Workers]
) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    workers = workers_of("shop_flow.py", api=destination.url, dsn=nowhere, mart_url=nowhere)
    worker = workers.start("deliver")
    eventually(lambda: worker.says("cannot be opened yet"), "it waits for the mart")
    workers.stop()
