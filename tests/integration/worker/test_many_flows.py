"""Several flows in one process on real Kafka: some are broken, and the process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from confluent_kafka import Message
from prometheus_client.parser import text_string_to_metric_families

from trunkline.local.ports import free_port
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import registry_of
from worker_kit import PATIENCE, Feed, environ_of, eventually, read

FLOW = '''
"""Flow {name}."""

from pathlib import Path

from trunkline import ConfigurationError, Event, Flow, Params, Record
from trunkline.connectors.base import Batch, Sink, Source
from trunkline.schemas.commerce import Order


class Env(Params):
    folder: str


flow = Flow("{name}", Env)


class Lines(Sink[Order]):
    """A line an event. It cannot be opened while the folder has a file of this name."""

    type = Order

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    async def open(self) -> None:
        if (self._folder / "{name}.closed").exists():
            raise ConfigurationError("the door of {name} is closed: open it")

    async def deliver(self, events: "list[Event[Order]]") -> None:
        with (self._folder / "{name}.lines").open("a") as file:
            for event in events:
                file.write(f"{{event.data['id']}} {{event.data['total_cents']}}\\n")


class Shop(Source):
    """Three orders, once its system is set up."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def read(self, position, stop):
        if (self._folder / "{name}.unset").exists():
            raise ConfigurationError("the system of {name} is not set up: do it")
        if position is None:
            records = [Record(key="k", data={{"n": n}}, id=str(n)) for n in range(3)]
            yield Batch(records, {{"n": 3}})
        stop.wait()


@flow.destination
def lines(env: Env) -> Lines:
    return Lines(env.folder)


if {has_source}:

    @flow.source
    def shop(env: Env) -> Shop:
        return Shop(env.folder)

    @flow.topic("{name}.orders", source=shop)
    def orders(row: Record) -> Order:
        return Order(id=row.key, status="paid", total_cents=row.data["n"])

else:
    orders = flow.existing_topic("{name}.orders", Order)


@flow.route(orders, to=lines)
def every(order: Event[Order]) -> Order:
    if {raises}:
        raise LookupError("the route of {name} does not work")
    return order.data
'''


class World:
    """Five flows, and the process that runs them."""

    def __init__(self, backbone: Backbone, folder: Path) -> None:
        tag = uuid.uuid4().hex[:6]
        self.backbone, self.folder = backbone, folder
        self.well = [f"well-{tag}", f"fine-{tag}"]
        self.unset, self.closed, self.raising = f"unset-{tag}", f"closed-{tag}", f"raising-{tag}"
        self.fed = [*self.well, self.closed, self.raising]
        self.files = [self._file(name) for name in (*self.fed, self.unset)]
        (folder / f"{self.unset}.unset").touch()
        (folder / f"{self.closed}.closed").touch()
        self.feeds = {name: Feed(backbone, f"{name}.orders") for name in self.fed}
        self.count = 0
        self.port = free_port()

    def _file(self, name: str) -> Path:
        file = self.folder / f"{name}.py"
        has_source, raises = name.startswith("unset"), name.startswith("raising")
        file.write_text(FLOW.format(name=name, has_source=has_source, raises=raises))
        return file

    def feed(self, count: int) -> None:
        """So many more orders of each of five keys for each flow that is fed."""
        for feed in self.feeds.values():
            feed.orders((f"k{key}", self.count + n) for n in range(count) for key in range(5))
        self.count += count

    @contextmanager
    def running(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "trunkline", "run", *map(str, self.files)]
        environ = {**os.environ, **environ_of(self.backbone, folder=str(self.folder))}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--port", str(self.port), "--log-format", "json"],
                env=environ,
                cwd=self.folder,
                stderr=output,
            )
        try:
            eventually(lambda: self.page("/readyz")[0] == 200, f"ready; see {log.read_text()}")
            yield process
        finally:
            process.kill()
            process.wait()

    def page(self, path: str) -> tuple[int, str]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}{path}")
        except httpx.TransportError:
            return 0, ""
        return answer.status_code, answer.text

    def status(self) -> Any:
        return orjson.loads(self.page("/readyz")[1])

    def metric(self, name: str, flow: str) -> float | None:
        for family in text_string_to_metric_families(self.page("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and sample.labels.get("flow") == flow:
                    return sample.value
        return None

    def lines(self, flow: str) -> dict[str, list[int]]:
        """What its destination got: the numbers of each key, in their order."""
        file = self.folder / f"{flow}.lines"
        found: dict[str, list[int]] = defaultdict(list)
        for line in file.read_text().splitlines() if file.exists() else []:
            key, number = line.split()
            found[key].append(int(number))
        return found

    def is_whole(self, flow: str) -> bool:
        """Whether each order has come."""
        found = self.lines(flow)
        return all(set(found[f"k{key}"]) == set(range(self.count)) for key in range(5))

    def numbers(self, topic: str) -> dict[str, list[int]]:
        """The orders in a topic: the numbers of each key, in their order."""
        found: dict[str, list[int]] = defaultdict(list)
        with registry_of(self.backbone) as registry:
            decode = Codec(registry).decoder(Order)
            for message in read(self.backbone, topic):
                found[_key(message)].append(decode(message.value() or b"")["total_cents"])
        return found


def _key(message: Message) -> str:
    key = message.key()
    return key.decode() if isinstance(key, bytes) else ""


def in_order(numbers: list[int]) -> bool:
    """Whether each comes first before all later ones, and the last one is the newest: what a crash
    repeats are the newest of a key, in their order."""
    first = list(dict.fromkeys(numbers))
    return first == sorted(first) and numbers[-1] == max(numbers)


@pytest.fixture
def world(bootstrap: str, registry_url: str, tmp_path: Path) -> World:
    return World(Backbone(bootstrap=bootstrap, registry=registry_url), tmp_path)


def test_what_is_broken_holds_one_flow_and_a_kill_costs_none_anything(
    world: World, tmp_path: Path
) -> None:
    world.feed(40)
    with world.running(tmp_path / "first.log") as process:
        eventually(lambda: world.unset in world.status()["held_flows"], "it is held")
        flows = world.status()["flows"]
        assert flows[world.unset]["reason"] == f"the system of {world.unset} is not set up: do it"
        assert flows[world.closed]["held"] == ["lines"]
        assert flows[world.raising]["ready"]
        assert world.page("/readyz")[0] == 200
        assert world.metric("trunkline_flow_held", world.unset) == 1
        assert world.metric("trunkline_flow_held", world.well[0]) in (0, None)
        eventually(lambda: any(world.lines(name) for name in world.well), "orders arrive")
        world.feed(60)
        process.send_signal(signal.SIGKILL)  # in the middle of all that
    world.feed(20)
    with world.running(tmp_path / "second.log") as process:
        eventually(lambda: all(map(world.is_whole, world.well)), "all orders have arrived")
        assert not world.lines(world.closed)
        (tmp_path / f"{world.unset}.unset").unlink()
        (tmp_path / f"{world.closed}.closed").unlink()
        eventually(lambda: world.is_whole(world.closed), "what was closed gets its orders")
        eventually(lambda: world.lines(world.unset) == {"k": [0, 1, 2]}, "what was unset runs")
        eventually(lambda: not world.status()["held_flows"], "nothing is held")
        dead = f"{world.raising}.lines.dlq"
        eventually(lambda: len(read(world.backbone, dead)) >= 5 * world.count, "all are dead")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    for flow in (*world.well, world.closed):
        assert all(map(in_order, world.lines(flow).values()))
        inbox = world.numbers(f"{flow}.lines.inbox")
        assert inbox == {f"k{key}": list(range(world.count)) for key in range(5)}
    assert len(read(world.backbone, dead)) == 5 * world.count
    assert _told(tmp_path / "first.log", world.unset) == {world.unset}


def _told(log: Path, flow: str) -> set[str]:
    """Which flows the lines are of that say that one is held."""
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines() if line[:1] == b"{"]
    return {line["flow"] for line in lines if "the flow is held" in line["message"]}


def test_two_flows_of_one_name_are_refused_at_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(
            'from trunkline import Flow, Params\n\nflow = Flow("orders", Params)\n'
        )
    done = subprocess.run(
        [sys.executable, "-m", "trunkline", "run", "a.py", "b.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "b.py:3: a.py has a flow 'orders', too" in done.stderr
