"""Delivery through anything: an API that misbehaves by script, a table that goes and comes, and a
registry that answers nonsense, while workers and the broker are killed, frozen and scaled.

``CRASH_SEED`` repeats a run's scripts; the seed is printed. ``CRASH_SECONDS``: how long it lasts.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anything_case import DESTINATIONS, Case
from broker import Broker
from chaos import Mayhem
from history import Account
from odd_registry import OddRegistry
from publisher import SECONDS, Publisher
from scripted_operator import Operator
from stored_table import StoredTable

from trunkline.params import Backbone
from worker_kit import Feed, Workers, environ_of, header

CONCLUDES = 240
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


@pytest.fixture
def table(postgres_dsn: str, name: str) -> StoredTable:
    made = StoredTable(postgres_dsn, name.replace("-", "_"))
    made.create()
    return made


@pytest.fixture
def odd_registry(backbone: Backbone, seed: int) -> Iterator[OddRegistry]:
    with OddRegistry(backbone.registry, seed) as running:
        yield running


@pytest.mark.timeout(SECONDS + CONCLUDES + SETTLES + 220)
def test_nothing_is_lost_disordered_or_burnt_whatever_happens(
    backbone: Backbone,
    broker: Broker,
    odd_registry: OddRegistry,
    table: StoredTable,
    name: str,
    seed: int,
    feed: Feed,
    postgres_dsn: str,
    tmp_path: Path,
    workers_of: Callable[..., Workers],
) -> None:
    publisher = Publisher(feed, backbone, seed)
    case = Case(backbone, name, tmp_path, seed, events=publisher.events, table=table)
    addresses = {"stored": postgres_dsn, "trunkline_registry": odd_registry.url}
    workers = workers_of("anything_flow.py", **case.urls, **addresses)
    workers.started("route", "deliver", "deliver")
    mayhem = Mayhem(workers, broker, seed, case.heard, table)
    operator = Operator(f"{name}.halting", environ_of(backbone))
    with case, operator:
        with publisher:
            mayhem.run(SECONDS)
            wait_for(case.concluded, CONCLUDES)
        wait_for(case.settled, SETTLES)
        workers.stop()
    print(f"decisions about what halts, with the exit codes: {dict(operator.exits)}")
    print(f"the registry answered {dict(odd_registry.answers)}")
    for destination in DESTINATIONS:
        routed, events = case.routed(destination), case.events_of(destination)
        assert Counter(routed) == Counter(events), f"{len(routed)} of {len(events)} are routed"
        assert_sound(destination, case.account(destination, mayhem.strikes))
    assert list(case.table_account().faults()) == []
    for destination in (*DESTINATIONS, "stored"):
        assert case.unread(destination) == []


def wait_for(true: Callable[[], bool], seconds: float) -> None:
    """Wait until it is true, or so long: the account says what is missing then, and why."""
    begin = time.monotonic()
    while not true() and time.monotonic() < begin + seconds:
        time.sleep(LOOK)
    print(f"{true.__name__} after {time.monotonic() - begin:.1f} s", flush=True)


def assert_sound(name: str, account: Account) -> None:
    """No fault, and no more repeats than a strike may cause."""
    faults = account.faults()
    dead = Counter(header(letter, "tl_error_class") for letter in account.letters)
    answers = Counter(request.does for request in account.requests)
    print(f"{name}: {len(account.events)} events, answered {dict(answers)}, dead {dict(dead)},")
    print(f"  {account.repeats.total()} applied again: {dict(account.repeats)}")
    assert not faults, "\n".join([f"{name} has {len(faults)} faults:", *faults[:5]])
    for why, count in account.repeats.items():
        assert count <= BOUNDS.get(why.split()[0], count), f"{count} were repeated by {why}"
