"""The whole way under fire: 50,000 changes while workers are killed and scaled.

``CRASH_SEED`` repeats a run's kills; the seed is printed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from checker import by_key, disorders, ids_by_key, repeats, through
from confluent_kafka import Message
from shop import Shop, State

from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from trunkline.streams.deliver.committer import MAX_EVENTS
from worker_kit import Destination, WorkerProcess, Workers, eventually, header, read

CHANGES, KEYS, PER_SECOND = 60_000, 2_000, 900
AT_LEAST = 50_000
ROLES = ("source", "route", "deliver")
KILLS = 21
BATCH = 500
"""Rows of a portion of the snapshot, as shop_flow.py says."""
BOUND = 2 * MAX_EVENTS + 16
"""Repeats that one kill may cause: what is completed within two commits, as the next may already
be full while one is written, and what is under way (``concurrency`` in shop_flow.py)."""


@pytest.fixture
def database(postgres_dsn: str, name: str) -> Iterator[str]:
    """A database of its own; its slot goes with it."""
    with closing(psycopg2.connect(postgres_dsn)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f'CREATE DATABASE "{name}"')
        yield postgres_dsn.rsplit("/", 1)[0] + f"/{name}"
        slots = "FROM pg_replication_slots WHERE database = %s"
        cursor.execute(f"SELECT pg_terminate_backend(active_pid) {slots}", (name,))
        cursor.execute(f"SELECT pg_drop_replication_slot(slot_name) {slots}", (name,))
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Chaos:
    """Kills a worker of each role in turn, a random one, and starts another in its place."""

    def __init__(self, workers: Workers, destination: Destination, seed: int) -> None:
        self._workers = workers
        self._destination = destination
        self._random = random.Random(seed)
        self._roles = [role for _ in range(KILLS // len(ROLES)) for role in ROLES]
        self._random.shuffle(self._roles)
        self.kills: list[tuple[float, str]] = []

    def kill_some(self, count: int) -> None:
        for _ in range(count):
            time.sleep(self._random.uniform(0.8, 3.5))
            self.kill(self._roles.pop())

    def kill(self, role: str) -> None:
        if role == "deliver":  # while nothing is delivered, nothing could be repeated
            eventually(self._delivering, "it delivers")
        victim = self._random.choice(self._working(role))
        self._workers.kill(victim)
        self.kills.append((time.monotonic(), role))
        self._workers.start(role)

    def _delivering(self) -> bool:
        before = len(self._destination.deliveries)
        time.sleep(0.02)
        return len(self._destination.deliveries) > before

    def _working(self, role: str) -> list[WorkerProcess]:
        """The workers of a role, those that are long enough there if there are any."""
        workers = self._workers.of(role)
        return [w for w in workers if time.monotonic() - w.started > 5] or workers

    def at(self, role: str) -> list[float]:
        """When workers of this role were killed."""
        return [at for at, killed in self.kills if killed == role]


@pytest.mark.timeout(700)
def test_nothing_is_lost_or_disordered_under_kills_and_scaling(
    backbone: Backbone,
    name: str,
    destination: Destination,
    database: str,
    workers_of: Callable[..., Workers],
) -> None:
    seed = int(os.environ.get("CRASH_SEED") or random.randrange(2**32))
    print(f"CRASH_SEED={seed}")
    shop = Shop(database, keys=KEYS, changes=CHANGES, per_second=PER_SECOND, seed=seed)
    shop.open()
    workers = workers_of("shop_flow.py", api=destination.url, dsn=database, mart_url=database)
    chaos = Chaos(workers, destination, seed)

    workers.started(*ROLES)
    shop.start()
    chaos.kill("source")
    eventually(lambda: shop.written > 0 and len(destination.deliveries) > KEYS, "it flows")
    shop.deletes = True
    scale_and_kill(workers, chaos)
    shop.enough = True
    shop.join()
    wait_for_the_last(backbone, name, shop, destination)
    workers.stop()

    canonical, inbox = read(backbone, f"{name}.orders"), read(backbone, f"{name}.api.inbox")
    assert_published(shop, canonical, backbone)
    assert_routed_once(canonical, inbox)
    assert_routed_once(canonical, read(backbone, f"{name}.mart.inbox"))
    assert_delivered(inbox, destination, chaos)
    assert shop.rows("mart") == shop.rows("orders")
    for dlq in ("shop", "api", "mart"):
        assert read(backbone, f"{name}.{dlq}.dlq") == []


def scale_and_kill(workers: Workers, chaos: Chaos) -> None:
    """From 1 worker a role to 3 and back, killing all the time."""
    chaos.kill_some(4)
    for role in (*ROLES, *ROLES):
        workers.start(role)
    chaos.kill_some(KILLS - 8)
    workers.stop(*(worker for role in ROLES for worker in workers.of(role)[1:]))
    chaos.kill_some(4)


def wait_for_the_last(backbone: Backbone, name: str, shop: Shop, destination: Destination) -> None:
    """Until the last change has reached both destinations."""
    eventually(lambda: shop.rows("mart") == shop.rows("orders"), "the mart is up to date", 240)
    expected = ids_by_key(read(backbone, f"{name}.api.inbox"))
    eventually(lambda: through(expected, destination), "the API has got everything", 240)


def assert_published(shop: Shop, canonical: list[Message], backbone: Backbone) -> None:
    """Each row's state in the last snapshot, and every change after it, once and in order. Rows of
    a snapshot that was killed may come twice: of the portion that was under way (postgres.md)."""
    snapshots = [m for m in canonical if header(m, "tl_change") == "snapshot"]
    changes = [m for m in canonical if header(m, "tl_change") != "snapshot"]
    assert published_twice(changes) == {}, "a change was published twice"
    assert len(published_twice(snapshots)) <= BATCH, "more rows twice than a portion has"
    with closing(Registry(backbone.registry)) as registry:
        decode = Codec(registry).decoder(Order)
        lanes = by_key(canonical, lambda message: (message.key() or b"").decode())
        for key, lane in lanes.items():
            states = [decode(v)["total_cents"] if (v := m.value()) else None for m in lane]
            rows = [header(m, "tl_change") == "snapshot" for m in lane]
            assert_lane(shop.history[key], list(zip(states, rows, strict=True)))
    assert lanes.keys() == shop.history.keys()


def published_twice(canonical: list[Message]) -> dict[str, list[str]]:
    """Where events are whose id another one has, too: by id, partition, offset and time."""
    places: dict[str, list[str]] = {}
    for message in canonical:
        _, made = message.timestamp()
        place = f"{message.partition()}/{message.offset()} at {made / 1000:.3f}"
        places.setdefault(header(message, "ce_id"), []).append(place)
    return {id_: found for id_, found in places.items() if len(found) > 1}


def assert_lane(history: list[State], published: list[tuple[State, bool]]) -> None:
    """Each state with whether it is a row of a snapshot. The changes are the history from where the
    snapshot was taken on. A row that comes before them is what the first of them changed (one of a
    snapshot that was killed may be older); one that comes between is as the change before left it.
    """
    changes = [state for state, of_snapshot in published if not of_snapshot]
    begin = len(history) - len(changes)
    assert changes == history[begin:]
    first: list[int] = []
    done = 0
    for state, of_snapshot in published:
        if not of_snapshot:
            done += 1
        elif done:
            assert state == changes[done - 1], f"a row went back behind change {done} to {state}"
        else:
            first.append(history.index(state))
    assert first == sorted(first)
    assert not first or first[-1] == begin - 1


def assert_routed_once(canonical: list[Message], inbox: list[Message]) -> None:
    """Zero missing, zero duplicates, the same order."""
    origins = [header(message, "tl_from") for message in inbox]
    assert len(set(origins)) == len(origins), "an event was routed twice"
    assert ids_by_key(inbox) == ids_by_key(canonical)


def assert_delivered(inbox: list[Message], destination: Destination, chaos: Chaos) -> None:
    """Zero missing, in order, and each repeat explained by a kill and bounded."""
    deliveries, twice = destination.deliveries, published_twice(inbox)
    once = [delivery for delivery in deliveries if delivery.id not in twice]
    found = repeats(once, chaos.at("deliver"))
    print(f"{len(inbox)} events, {len(chaos.kills)} kills, {found.total} repeated: {found}")
    assert disorders(ids_by_key(inbox), deliveries) == {}
    assert len(inbox) >= AT_LEAST
    assert found.unexplained == 0
    assert max(found.by_kill.values()) <= BOUND
