"""A replay under live traffic of the same keys while routing workers are killed: the destination
never ends on an older state, and no chunk is sent twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Message

from trunkline.admin.replay_scope import ReplayScope
from trunkline.admin.replays import submit_request
from trunkline.kafka.offsets import Partition
from trunkline.params import Backbone
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.replay.request import Request
from worker_kit import Destination, Feed, Workers, eventually, header, read

KEYS = [f"k{n}" for n in range(1000)]
TOUCHED = len(KEYS) // 2
"""Keys that have live traffic, too."""
EVENTS = 3 * len(KEYS)
RATE = 100.0
KILLS = 2


def test_no_older_state_after_kills_under_live_traffic(
    backbone: Backbone,
    name: str,
    destination: Destination,
    feed: Feed,
    workers_of: Callable[..., Workers],
) -> None:
    workers = workers_of("feed_flow.py", api=destination.url)
    workers.started("deliver", "route", "route")
    feed.orders((KEYS[n % len(KEYS)], n) for n in range(EVENTS))
    past = ReplayScope(backbone, name, feed.topic)
    eventually(lambda: len(destination.deliveries) == EVENTS, "the past is routed")

    ranges = past.ranges(None, None)
    asked = Request(kind="replay", destination="api", ranges=ranges, rate=RATE)
    with live(feed) as routed_live:
        id = submit_request(backbone, name, asked).id
        for _ in range(KILLS):
            before = sent(backbone, name, id)
            eventually(lambda b=before: sent(backbone, name, id) > b + 50, "the replay goes on")
            workers.kill(workers.of("route")[0])
            workers.start("route")
        eventually(lambda: request(backbone, name, id)["state"] == "done", "it is done", 90)

    published = EVENTS + len(routed_live)
    eventually(lambda: size(past.ranges(None, None)) == published, "everything is routed")
    eventually(lambda: len(set(ids(destination))) == published, "everything is delivered")
    workers.stop()
    inbox = read(backbone, f"{name}.api.inbox")
    assert went_back(inbox, numbers(backbone, feed.topic)) == []
    replayed = [m for m in inbox if header(m, "tl_origin") == "replay"]
    again = Counter(header(m, "tl_from") for m in replayed)
    print(f"{len(replayed)} replayed, {len(routed_live)} live events, {KILLS} kills")
    assert max(again.values()) == 1, "a chunk was sent twice"
    counts = request(backbone, name, id)["counts"]
    assert counts["sent"] == len(replayed)
    assert counts["sent"] + counts["superseded"] == EVENTS
    assert newest(destination) == newest_of(read(backbone, feed.topic))


def size(ranges: Mapping[Partition, range]) -> int:
    return sum(map(len, ranges.values()))


def request(backbone: Backbone, name: str, id: str) -> dict[str, Any]:
    return read_control(backbone, f"{name}.control")[f"replay/{id}"]


def sent(backbone: Backbone, name: str, id: str) -> int:
    state = read_control(backbone, f"{name}.control")
    progress = [value for key, value in state.items() if key.startswith(f"replay/{id}/")]
    return sum(value["counts"].get("sent", 0) for value in progress)


@contextmanager
def live(feed: Feed) -> Iterator[list[str]]:
    """Live traffic of the same keys, 100 events a second; yields the keys that it had."""
    stopped, had = threading.Event(), list[str]()

    def publish() -> None:
        while not stopped.wait(0.05):
            keys = [KEYS[7 * (len(had) + n) % TOUCHED] for n in range(5)]
            feed.orders((key, EVENTS + len(had) + n) for n, key in enumerate(keys))
            had.extend(keys)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield had
    finally:
        stopped.set()
        thread.join()


def ids(destination: Destination) -> list[str]:
    return [delivery.id for delivery in list(destination.deliveries)]


def numbers(backbone: Backbone, topic: str) -> dict[str, int]:
    """Each event's offset."""
    return {header(m, "ce_id"): m.offset() or 0 for m in read(backbone, topic)}


def went_back(inbox: list[Message], place: Mapping[str, int]) -> list[str]:
    """Events that stand behind a newer one of their key."""
    newest: dict[bytes | None, int] = {}
    wrong = []
    for message in inbox:
        at = place[header(message, "ce_id")]
        if at < newest.get(message.key(), -1):
            wrong.append(f"{message.key()!r} {header(message, 'tl_origin')} {at}")
        newest[message.key()] = at
    return wrong


def newest(destination: Destination) -> dict[str, str]:
    """What the destination ends on."""
    return {delivery.key: delivery.id for delivery in destination.deliveries}


def newest_of(canonical: list[Message]) -> dict[str, str]:
    return {(m.key() or b"").decode(): header(m, "ce_id") for m in canonical}
