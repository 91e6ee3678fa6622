"""Delivery through anything: an API that misbehaves by script, while workers and the broker are
killed, frozen and scaled.

``CRASH_SEED`` repeats a run's scripts; the seed is printed. ``CRASH_SECONDS``: how long it lasts.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import faulty_server
import pytest
from broker import Broker
from chaos import Mayhem, Strike
from confluent_kafka import Message
from faulty_server import AFTERWARDS, HALTING, POISONS, fate, requests_of
from history import Account, Place, uncompleted
from scripted_operator import Operator

from trunkline.local.ports import free_port
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from worker_kit import Feed, Workers, environ_of, header, read

TIERS = ("retry.500ms", "retry.2s", "retry.5s")
DESTINATIONS = ("ordered", "unordered", "halting")
SECONDS = float(os.environ.get("CRASH_SECONDS") or 90)
KEYS, PER_SECOND = 40, 80
EVENTS = [(f"k{n % KEYS}", n // KEYS) for n in range(int(SECONDS * PER_SECOND))]
CONCLUDES = 180
"""Seconds after which the poison events must be concluded: from the first failure to the last
attempt it takes one of them a minute, and some are behind others of their key."""
SETTLES = 180 + SECONDS / 2
"""Seconds within which the backlog must be delivered that such a time leaves."""
LOOK = 1.0
"""Seconds between two looks, each of which reads whole topics."""
BOUNDS = {"kill": 600, "freeze": 600, "broker": 12_000}
"""Repeats that one strike may cause: what a worker completes within two commits at the rate here,
and what is under way (``concurrency`` of each destination). Of a broker that is away, what workers
have read ahead."""


@pytest.fixture
def backbone(broker: Broker, registry_url: str) -> Backbone:
    return Backbone(bootstrap=broker.address, registry=registry_url)


@pytest.fixture
def seed() -> int:
    drawn = int(os.environ.get("CRASH_SEED") or random.randrange(2**32))
    print(f"CRASH_SEED={drawn} CRASH_SECONDS={SECONDS:.0f}")
    return drawn


class Case:
    """One flow and its API: what stands in topics and logs, of the ``events`` that are published. A
    context manager: the API runs."""

    def __init__(
        self, backbone: Backbone, name: str, home: Path, seed: int, events: Sequence[Place]
    ) -> None:
        self._backbone = backbone
        self._events = events
        self._name = name
        self._home = home
        self._seed = seed
        self._ports = {destination: free_port() for destination in DESTINATIONS}
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()}

    def __enter__(self) -> Case:
        options = [f"--seed={self._seed}", f"--seconds={SECONDS}", f"--home={self._home}"]
        ports = [f"{name}={port}" for name, port in self._ports.items()]
        with (self._home / "api.log").open("wb") as output:
            command = [sys.executable, faulty_server.__file__, *options, *ports]
            self._api = subprocess.Popen(command, stdout=output, stderr=output)
        return self

    def __exit__(self, *failure: object) -> None:
        assert self._api.poll() is None, (self._home / "api.log").read_text()
        self._api.kill()
        self._api.wait()

    def heard(self) -> int:
        """How long the API's logs are."""
        return sum(log.stat().st_size for log in self._home.glob("*.requests"))

    def concluded(self) -> bool:
        """Whether every poison event is in a DLQ."""
        return all(self._poison(name) <= self._dead(name) for name in DESTINATIONS)

    def _poison(self, name: str) -> set[Place]:
        return {event for event, does in self._fates(name).items() if does in POISONS}

    def _dead(self, name: str) -> set[Place]:
        return set(self._places(self._read(name, "dlq")).values())

    def settled(self) -> bool:
        """Whether all is delivered and completed that can be."""
        wanted = sum(len(self.events_of(name)) for name in DESTINATIONS)
        if sum(len(self._read(name, "inbox")) for name in DESTINATIONS) < wanted:
            return False
        return not any(self._open(name) for name in DESTINATIONS)

    def account(self, name: str, strikes: Sequence[Strike] = ()) -> Account:
        """What there is to know of a destination."""
        requests, lost = requests_of(self._home / f"{name}.requests")
        return Account(
            events=self._places(self._read(name, "inbox")),
            requests=requests,
            lost=lost,
            letters=self._read(name, "dlq"),
            open=self._open(name),
            strikes=strikes,
            fates=self._fates(name),
            ordered=name != "unordered",
            halts=name == "halting",
        )

    def events_of(self, destination: str) -> list[Place]:
        """Key and number of what it is to get."""
        return [event for event in self._events if destination != "halting" or event[0] in HALTING]

    def _fates(self, destination: str) -> dict[Place, str]:
        seed = f"{self._seed}/{destination}"
        drawn = ((event, fate(seed, *event)) for event in self.events_of(destination))
        return {event: does for event, does in drawn if does}

    def _places(self, messages: Sequence[Message]) -> dict[str, Place]:
        """Which events these are, by their ids."""
        with closing(Registry(self._backbone.registry)) as registry:
            decode = Codec(registry).decoder(Order)
            orders = {header(m, "ce_id"): decode(value_of(m)) for m in messages}
        return {id_: (order["id"], order["total_cents"]) for id_, order in orders.items()}

    def _open(self, destination: str) -> set[str]:
        topics = [f"{self._name}.{destination}.{part}" for part in ("inbox", *TIERS)]
        return uncompleted(self._backbone, f"{self._name}.{destination}", topics)

    def _read(self, destination: str, part: str) -> list[Message]:
        return read(self._backbone, f"{self._name}.{destination}.{part}")


def value_of(message: Message) -> bytes:
    value = message.value()
    assert value is not None
    return value


class Publisher:
    """Publishes EVENTS evenly over SECONDS, and after them others, more slowly, until it ends. A
    context manager. ``events``: what is published, in its order."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
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
        self._publish(self._afterwards(), PER_SECOND / 2)
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
            if done % 20 == 0:
                time.sleep(max(0.0, begin + done / per_second - time.monotonic()))
            self._feed.raw(key.encode(), self._feed.value(key, number))
            self.events.append((key, number))


@pytest.mark.timeout(SECONDS + CONCLUDES + SETTLES + 220)
def test_nothing_is_lost_disordered_or_burnt_whatever_happens(
    backbone: Backbone,
    broker: Broker,
    name: str,
    seed: int,
    feed: Feed,
    tmp_path: Path,
    workers_of: Callable[..., Workers],
) -> None:
    publisher = Publisher(feed)
    case = Case(backbone, name, tmp_path, seed, publisher.events)
    workers = workers_of("anything_flow.py", **case.urls)
    workers.started("route", "deliver", "deliver")
    mayhem = Mayhem(workers, broker, seed, case.heard)
    operator = Operator(f"{name}.halting", environ_of(backbone))
    with case, operator:
        with publisher:
            mayhem.run(SECONDS)
            wait_for(case.concluded, CONCLUDES)
        wait_for(case.settled, SETTLES)
        workers.stop()
    print(f"decisions about what halts, with the exit codes: {dict(operator.exits)}")
    for destination in DESTINATIONS:
        account = case.account(destination, mayhem.strikes)
        assert_sound(destination, case.events_of(destination), account)


def wait_for(true: Callable[[], bool], seconds: float) -> None:
    """Wait until it is true, or so long: the account says what is missing then, and why."""
    begin = time.monotonic()
    while not true() and time.monotonic() < begin + seconds:
        time.sleep(LOOK)
    print(f"{true.__name__} after {time.monotonic() - begin:.1f} s", flush=True)


def assert_sound(name: str, events: Sequence[Place], account: Account) -> None:
    """All routed, no fault, and no more repeats than a strike may cause."""
    routed = Counter(account.events.values())
    assert routed == Counter(events), f"{len(routed)} of {len(events)} are routed"
    faults = account.faults()
    dead = Counter(header(letter, "tl_error_class") for letter in account.letters)
    answers = Counter(request.does for request in account.requests)
    print(f"{name}: {len(account.events)} events, answered {dict(answers)}, dead {dict(dead)},")
    print(f"  {account.repeats.total()} applied again: {dict(account.repeats)}")
    assert not faults, "\n".join([f"{name} has {len(faults)} faults:", *faults[:5]])
    for why, count in account.repeats.items():
        assert count <= BOUNDS.get(why.split()[0], count), f"{count} were repeated by {why}"
