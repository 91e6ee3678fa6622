"""Delivery through anything: an API that misbehaves by script, while workers and the broker are
killed, frozen and scaled.

``CRASH_SEED`` repeats a run's scripts; the seed is printed. ``CRASH_SECONDS``: how long it lasts.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import faulty_server
import pytest
from broker import Broker
from chaos import Mayhem, Strike
from confluent_kafka import Message
from faulty_server import HALTING, fate, requests_of
from history import Account, uncompleted
from scripted_operator import Operator

from trunkline.local.ports import free_port
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from worker_kit import Feed, Workers, environ_of, eventually, header, read

TIERS = ("retry.500ms", "retry.2s", "retry.5s")
DESTINATIONS = ("ordered", "unordered", "halting")
SECONDS = float(os.environ.get("CRASH_SECONDS") or 90)
KEYS, PER_SECOND = 40, 80
EVENTS = [(f"k{n % KEYS}", n // KEYS) for n in range(int(SECONDS * PER_SECOND))]
SETTLES = 180 + SECONDS / 2
"""Seconds within which the backlog must be delivered that such a time leaves."""
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
    """One flow and its API: what stands in topics and logs. A context manager: the API runs."""

    def __init__(self, backbone: Backbone, name: str, home: Path, seed: int) -> None:
        self._backbone = backbone
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

    def settled(self) -> bool:
        """Whether all is delivered and completed that can be."""
        wanted = sum(len(events_of(name)) for name in DESTINATIONS)
        if sum(len(self._read(name, "inbox")) for name in DESTINATIONS) < wanted:
            return False
        return not any(self._open(name) for name in DESTINATIONS)

    def account(self, name: str, strikes: Sequence[Strike] = ()) -> Account:
        """What there is to know of a destination."""
        requests, lost = requests_of(self._home / f"{name}.requests")
        with closing(Registry(self._backbone.registry)) as registry:
            decode = Codec(registry).decoder(Order)
            orders = {header(m, "ce_id"): decode(value_of(m)) for m in self._read(name, "inbox")}
        events = events_of(name)
        drawn = ((event, fate(f"{self._seed}/{name}", *event)) for event in events)
        return Account(
            events={id_: (order["id"], order["total_cents"]) for id_, order in orders.items()},
            requests=requests,
            lost=lost,
            letters=self._read(name, "dlq"),
            open=self._open(name),
            strikes=strikes,
            fates={event: does for event, does in drawn if does},
            ordered=name != "unordered",
            halts=name == "halting",
        )

    def _open(self, destination: str) -> set[str]:
        topics = [f"{self._name}.{destination}.{part}" for part in ("inbox", *TIERS)]
        return uncompleted(self._backbone, f"{self._name}.{destination}", topics)

    def _read(self, destination: str, part: str) -> list[Message]:
        return read(self._backbone, f"{self._name}.{destination}.{part}")


def events_of(destination: str) -> list[tuple[str, int]]:
    """Key and number of what it is to get."""
    return [event for event in EVENTS if destination != "halting" or event[0] in HALTING]


def value_of(message: Message) -> bytes:
    value = message.value()
    assert value is not None
    return value


def publish(feed: Feed, seconds: float) -> None:
    """All events, evenly over so many seconds."""
    begin = time.monotonic()
    for done, (key, number) in enumerate(EVENTS):
        if done % 20 == 0:
            time.sleep(max(0.0, begin + seconds * done / len(EVENTS) - time.monotonic()))
        feed.raw(key.encode(), feed.value(key, number))
    feed.flush()


@pytest.mark.timeout(SECONDS + SETTLES + 220)
def test_nothing_is_lost_disordered_or_burnt_whatever_happens(
    backbone: Backbone,
    broker: Broker,
    name: str,
    seed: int,
    feed: Feed,
    tmp_path: Path,
    workers_of: Callable[..., Workers],
) -> None:
    case = Case(backbone, name, tmp_path, seed)
    workers = workers_of("anything_flow.py", **case.urls)
    workers.started("route", "deliver", "deliver")
    mayhem = Mayhem(workers, broker, seed, case.heard)
    operator = Operator(f"{name}.halting", environ_of(backbone))
    with case, operator:
        writer = threading.Thread(target=publish, args=[feed, SECONDS])
        writer.start()
        mayhem.run(SECONDS)
        writer.join()
        with suppress(AssertionError):  # the account says what is missing, and why
            eventually(case.settled, "all is delivered or decided", SETTLES)
        workers.stop()
    print(f"decisions about what halts, with the exit codes: {dict(operator.exits)}")
    for destination in DESTINATIONS:
        assert_sound(destination, case.account(destination, mayhem.strikes))


def assert_sound(name: str, account: Account) -> None:
    """All routed, no fault, and no more repeats than a strike may cause."""
    routed = Counter(account.events.values())
    assert routed == Counter(events_of(name)), f"{len(routed)} of {len(events_of(name))} are routed"
    faults = account.faults()
    dead = Counter(header(letter, "tl_error_class") for letter in account.letters)
    answers = Counter(request.does for request in account.requests)
    print(f"{name}: {len(account.events)} events, answered {dict(answers)}, dead {dict(dead)},")
    print(f"  {account.repeats.total()} applied again: {dict(account.repeats)}")
    assert not faults, "\n".join([f"{name} has {len(faults)} faults:", *faults[:5]])
    for why, count in account.repeats.items():
        assert count <= BOUNDS.get(why.split()[0], count), f"{count} were repeated by {why}"
