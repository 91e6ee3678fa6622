"""Who publishes the events of test_deliver_through_anything.py, some of which nobody can read."""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing

from faulty_server import AFTERWARDS, HALTING
from history import Place
from odd_registry import REFUSED

from trunkline.params import Backbone
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from trunkline.schemas.subjects import subject
from trunkline.schemas.types import schema_of
from worker_kit import Feed

SECONDS = float(os.environ.get("CRASH_SECONDS") or 90)
KEYS, PER_SECOND = 40, 80
AFTERWARDS_PER_SECOND = 10
"""Few: what comes back from a retry tier takes its place behind the backlog of its destination."""
EVENTS = [(f"k{n % KEYS}", n // KEYS) for n in range(int(SECONDS * PER_SECOND))]
VERSIONS, OF_A_VERSION = 6, 25
"""How many more versions the orders' schema gets, each of so many events of a key: workers meet ids
that they do not know all the time."""
UNREADABLE = 0.002
"""The share of events whose schema the registry does not tell (``REFUSED``)."""


def refused_id(seed: int, key: str, number: int) -> int:
    """The id in REFUSED that an event's value names; 0 if it is one that can be read."""
    drawn = random.Random(f"{seed}/refused/{key}/{number}")
    if key in (*HALTING, *AFTERWARDS) or drawn.random() >= UNREADABLE:
        return 0
    return drawn.choice(list(REFUSED))


class Publisher:
    """Publishes EVENTS evenly over SECONDS, and after them others, more slowly, until it ends. A
    context manager. ``events``: what is published, in its order."""

    def __init__(self, feed: Feed, backbone: Backbone, seed: int) -> None:
        self._feed = feed
        self._seed = seed
        self._ids = _versions(feed.topic, backbone.registry)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.events: list[Place] = []

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        self._publish(EVENTS, PER_SECOND)
        self._publish(self._afterwards(), AFTERWARDS_PER_SECOND)
        self._feed.flush()

    def _afterwards(self) -> Iterator[Place]:
        for number in itertools.count():
            for key in AFTERWARDS:
                if self._over.is_set():
                    return
                yield key, number

    def _publish(self, events: Iterable[Place], per_second: float) -> None:
        begin = time.monotonic()
        for done, (key, number) in enumerate(events):
            if done % 10 == 0:
                time.sleep(max(0.0, begin + done / per_second - time.monotonic()))
            self._feed.raw(key.encode(), self._value(key, number))
            self.events.append((key, number))

    def _value(self, key: str, number: int) -> bytes:
        """An order as one version of its schema has it: each has a ``long`` more, which is 0."""
        plain, version = self._feed.value(key, number), number // OF_A_VERSION % (VERSIONS + 1)
        if refused := refused_id(self._seed, key, number):
            return b"\0" + refused.to_bytes(4, "big") + plain[5:]
        if not version:
            return plain
        return b"\0" + self._ids[version - 1].to_bytes(4, "big") + plain[5:] + bytes(version)


def _versions(topic: str, registry_url: str) -> list[int]:
    schema = json.loads(schema_of(Order).json)
    ids = []
    with closing(Registry(registry_url)) as registry:
        for version in range(VERSIONS):
            schema["fields"].append({"name": f"more{version}", "type": "long", "default": 0})
            ids.append(registry.register(subject(topic), json.dumps(schema)))
    return ids
