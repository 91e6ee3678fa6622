"""What the deliver, retry and recovery jobs share: systems, events, the destination's book."""

from __future__ import annotations

import random
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import httpx

from benchmarks import environments
from benchmarks.errors import BenchmarkError
from benchmarks.orders import Activity
from benchmarks.servers import Servers, trunkline
from benchmarks.system import Program
from benchmarks.topics import Message
from trunkline.connectors.json_values import to_json
from trunkline.event import Record, event_headers
from trunkline.local.ports import free_port
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import Registry

PARTITIONS, KEYS, CALLS = 4, 20_000, 1_000
OUR_TOPIC, PEER_TOPIC = "deliverbench.api.inbox", "parallel.orders"
FULL = 0.9
"""The share of the rate before an outage at which a system counts as at its full rate again."""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class System:
    """A system of these jobs; ``owner``: what the names of its groups contain; ``calls``: how many
    requests each of its workers has under way."""

    name: str
    owner: str
    topic: str
    command: Callable[[], list[str]]
    calls: int = CALLS

    def run(self, at: Servers, api: str, log: str) -> Program:
        """Start it on its topic, from the beginning."""
        command = self.command()
        at.topics.remove_groups(lambda name: self.owner in name)
        environment = at.environment(API=api, CALLS=str(self.calls), TOPIC=self.topic)
        return Program(command, at.logs / f"{log}-{self.owner}.log", environment)


def ours(name: str, workers: int) -> System:
    options = ("--only", "deliver", "--workers", str(workers))
    command = partial(trunkline, "deliver", *options)
    return System(name, "deliverbench", OUR_TOPIC, command, CALLS // workers)


PARALLEL = System("Parallel Consumer", "parallel", PEER_TOPIC, environments.parallel_command)


class Events:
    """The events of a run: made to measure for each topic, numbered in their keys."""

    def __init__(self, registry: str) -> None:
        self._client = Registry(registry)
        self._avro = Codec(self._client).encoder(Activity, f"{OUR_TOPIC}-value", register=True)

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def endless(self, topic: str) -> Iterator[Message]:
        """Events as Trunkline's sources publish them; the peer's hold the JSON that it sends."""
        encode = to_json if topic == PEER_TOPIC else self._avro
        dice, numbers = random.Random(20130101), Counter[str]()
        while True:
            key = f"cus-{dice.randrange(KEYS):06}"
            record = Record(key=key, data={}, id=f"{key}/{numbers[key]}", time=NOON)
            numbers[key] += 1
            value = encode(_activity(key, numbers.total()))
            yield key, value, event_headers(record, source="/bench/shop", type="order.paid")


def _activity(customer: str, number: int) -> Activity:
    order = f"ord-{number:08}"
    return Activity(customer=customer, order_id=order, what="paid", at=NOON, total_cents=number)


@dataclass(frozen=True)
class Book:
    """What the destination noted: see ``slow_api.Book``. Moments are epoch seconds."""

    taken: list[tuple[str, float]]
    refused: list[float]
    retried: list[tuple[float, float]]
    down_at: float | None
    up_at: float | None
    repeats: int
    disordered: int

    @property
    def moments(self) -> list[float]:
        """When each event was taken."""
        return [moment for _, moment in self.taken]

    def check(self, count: int) -> None:
        """Raises BenchmarkError unless so many events came, those of each key in their order."""
        distinct = len({id for id, _ in self.taken})
        if distinct != count or self.disordered:
            raise BenchmarkError(
                f"{distinct:,} of {count:,} events taken, {self.disordered:,} out of order"
            )

    def outage(self, rate: float) -> dict[str, float]:
        """Requests while down, and seconds from its end until the first event was taken and until
        ``rate``, that of before, was nearly reached (see FULL), over a second."""
        assert self.up_at is not None, "there was no outage"
        after = [moment for moment in self.moments if moment >= self.up_at]
        figures = {"requests_while_down": float(len(self.refused))}
        figures["first_delivery_after_s"] = after[0] - self.up_at
        for number, moment in enumerate(after):
            if bisect_left(after, moment + 1) - number >= FULL * rate:
                return figures | {"full_rate_after_s": moment - self.up_at}
        return figures


def outage(after: int, seconds: float) -> tuple[str, ...]:
    """Options of an ``Api`` that is down for so long, once it has taken so many events."""
    return "--down-after", str(after), "--down-for", str(seconds)


class Api(Program):
    """The destination, in a process of its own. ``options``: how it behaves, see ``slow_api``."""

    def __init__(self, at: Servers, log: str, *options: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "benchmarks.slow_api", str(port), *options]
        super().__init__(command, at.logs / f"{log}-api.log")

    def count(self) -> int:
        """How many events it took, repeats included."""
        try:
            return int(httpx.get(f"{self.url}/count").text)
        except httpx.ConnectError:  # it is still starting
            return 0

    def book(self) -> Book:
        """All that it noted."""
        found = httpx.get(f"{self.url}/book", timeout=60).json()
        return Book(**{**found, "taken": [(id, moment) for id, moment in found["taken"]]})

    def wait_for(self, count: int, alive: Callable[[], None], seconds: float) -> None:
        """Wait until it has taken so many events. Raises BenchmarkError, also if ``alive`` does."""
        deadline = time.monotonic() + seconds
        while (found := self.count()) < count:
            self.alive()
            alive()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{found:,} of {count:,} events after {seconds:.0f} s")
            time.sleep(0.2)
