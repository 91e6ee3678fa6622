"""What the tests of running workers share: worker processes, a destination that records what it
gets, a publisher of events, and the reading of whole topics."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from confluent_kafka import KafkaError, Message, TopicPartition

from threaded_server import ThreadedServer
from trunkline import kafka
from trunkline.event import Record, event_headers
from trunkline.local.ports import free_port
from trunkline.params import PARAMS_PREFIX, Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry

PATIENCE = 60.0
"""Seconds after which a test that still waits has failed."""


def eventually(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until something is true; fail, saying what is not, when it never is."""
    begin = time.monotonic()
    deadline = begin + patience
    while not true():
        now = time.monotonic()
        assert now < deadline, f"after {patience:.0f} s not yet: {what}"
        # As long as the look took: looks that read whole topics, one after the other, would take
        # the CPU from the workers that are waited for.
        time.sleep(min(max(0.05, now - begin), 1.0))
        begin = time.monotonic()


class WorkerProcess:
    """One ``trunkline run`` of one role."""

    def __init__(
        self, flow: Path, role: str, environ: Mapping[str, str], log: Path, *more: str
    ) -> None:
        self.role = role
        self.log = log
        self.started = time.monotonic()
        self.port = free_port()
        command = [sys.executable, "-m", "trunkline", "run", str(flow), "--only", role]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), "--log-format", "text", *more],
                env={**os.environ, **environ},
                cwd=log.parent,
                stdout=output,
                stderr=output,
            )

    @property
    def ready(self) -> bool:
        """Whether it has joined its groups."""
        self._expect_alive()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def says(self, text: str, times: int = 1) -> bool:
        """Whether that stands in its log, so often."""
        self._expect_alive()
        return self.log.read_text().count(text) >= times

    @property
    def partitions(self) -> int:
        """How many partitions its last assignment had, of a worker with one group."""
        found = re.findall(r"assigned (\d+|nothing)", self.log.read_text())
        return int(found[-1]) if found and found[-1] != "nothing" else 0

    def _expect_alive(self) -> None:
        assert self.process.poll() is None, f"the worker ended:\n{self.log.read_text()[-4000:]}"

    def kill(self) -> None:
        """``kill -9``, in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stand still, as a machine that is paused."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Go on as if nothing had been."""
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self.process.send_signal(signal.SIGTERM)

    def stopped(self, patience: float = PATIENCE) -> None:
        """Wait for its end, which must be a clean one, unless it had not even begun."""
        code, log = self.process.wait(patience), self.log.read_text()
        begun = code != -signal.SIGTERM or log
        assert code == 0 or not begun, f"the worker ended with {code}:\n{log[-4000:]}"

    def stop(self) -> None:
        """SIGTERM, and a clean end."""
        self.terminate()
        self.stopped()


class Workers:
    """The worker processes of one flow. A context manager that leaves none behind."""

    def __init__(self, flow: Path, home: Path, environ: Mapping[str, str]) -> None:
        self._flow = flow
        self._home = home
        self._environ = environ
        self._count = 0
        self.running: list[WorkerProcess] = []

    def start(self, role: str) -> WorkerProcess:
        """Another worker; it is not ready yet."""
        self._count += 1
        log = self._home / f"{self._count:02}-{role.replace(',', '-')}.log"
        worker = WorkerProcess(self._flow, role, self._environ, log)
        self.running.append(worker)
        return worker

    def started(self, *roles: str) -> list[WorkerProcess]:
        """One more worker a role, all ready."""
        workers = [self.start(role) for role in roles]
        for worker in workers:
            eventually(lambda w=worker: w.ready, f"{worker.role} is ready")
        return workers

    def of(self, role: str) -> list[WorkerProcess]:
        """Those of a role, the oldest first."""
        return [worker for worker in self.running if worker.role == role]

    def kill(self, worker: WorkerProcess) -> None:
        """``kill -9``."""
        self.running.remove(worker)
        worker.kill()

    def stop(self, *workers: WorkerProcess) -> None:
        """SIGTERM to all of these at once, or to all there are; each must end cleanly."""
        ending = list(workers or self.running)
        for worker in ending:
            self.running.remove(worker)
            worker.terminate()
        for worker in ending:
            worker.stopped()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *failure: object) -> None:
        for worker in self.running:
            worker.kill()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request that the destination has taken. ``at``: monotonic."""

    at: float
    key: str
    id: str
    method: str
    body: Any


@dataclass
class Destination(ThreadedServer):
    """An HTTP API in a thread of its own: ``/orders/{key}``. A context manager.

    ``status``: what it answers. ``delay``: seconds before it does. What it answers with another
    status than 204 is in ``refused`` instead of ``deliveries``. ``keys``: which events came under
    each idempotency key: one, and each event under one.
    """

    status: int = 204
    delay: float = 0.0
    deliveries: list[Delivery] = field(default_factory=list)
    refused: list[Delivery] = field(default_factory=list)
    keys: dict[str, set[str]] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _listen(self) -> None:
        app = web.Application(client_max_size=32_000_000)
        app.router.add_route("*", "/orders/{key}", self._take)
        await self._serve(app, self.port)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        key, id_ = request.match_info["key"], request.query.get("id", "")
        self.keys.setdefault(request.headers["Idempotency-Key"], set()).add(id_)
        delivery = Delivery(time.monotonic(), key, id_, request.method, body)
        taken = self.deliveries if self.status == 204 else self.refused
        taken.append(delivery)
        if self.delay:
            await asyncio.sleep(self.delay)
        return web.Response(status=self.status)

    def __exit__(self, *failure: object) -> None:
        super().__exit__(*failure)
        if not any(failure):
            pairs = [(key, id_) for key, ids in self.keys.items() for id_ in ids if id_]
            ids = [id_ for _, id_ in pairs]
            assert len(pairs) == len({key for key, _ in pairs}) == len(set(ids)), "keys are mixed"


class Feed:
    """Publishes orders to a canonical topic, which it makes, as another program would."""

    def __init__(self, backbone: Backbone, topic: str, partitions: int = 4) -> None:
        self.topic = topic
        kafka.ensure_topics(backbone, [kafka.TopicSpec(topic, partitions)])
        with closing(Registry(backbone.registry)) as registry:
            self.encode = Codec(registry).encoder(Order, f"{topic}-value", register=True)
        self._producer = kafka.producer(backbone)

    def orders(self, orders: Iterable[tuple[str, int]]) -> None:
        """An event each, (key, number) in this order; returns when Kafka has them."""
        for key, number in orders:
            self.raw(key.encode(), self.value(key, number))
        self.flush()

    def value(self, key: str, number: int, status: str = "paid") -> bytes:
        """An order's bytes."""
        return self.encode(Order(id=key, status=status, total_cents=number))

    def raw(self, key: bytes | None, value: bytes | None) -> None:
        """Any bytes, with the headers of a canonical event."""
        record = Record(key="", data={}, change="update" if value is not None else "delete")
        headers = event_headers(record, source="/feed", type="order.paid")
        kafka.produce(self._producer, [(self.topic, key, value, headers)])

    def flush(self) -> None:
        """Returns when Kafka has everything."""
        assert self._producer.flush(PATIENCE) == 0


def messages(backbone: Backbone, topic: str) -> Iterator[Message]:
    """All committed records of a topic, in the order of each partition."""
    reader = kafka.consumer(backbone, f"reader-{uuid.uuid4()}", eof=True)
    try:
        partitions = reader.list_topics(topic, timeout=30).topics[topic].partitions
        reader.assign([TopicPartition(topic, number, 0) for number in partitions])
        ended = 0
        while ended < len(partitions):
            for message in reader.consume(1000, timeout=0.1):
                error = message.error()
                if error is None:
                    yield message
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended += 1
    finally:
        reader.close()


def read(backbone: Backbone, topic: str) -> list[Message]:
    """All of ``messages``."""
    return list(messages(backbone, topic))


def header(message: Message, name: str) -> str:
    """A header's text, "" where there is none."""
    return dict(message.headers() or []).get(name, b"").decode()


def environ_of(backbone: Backbone, **parameters: str) -> dict[str, str]:
    """The environment of a worker: the backbone's addresses and the flow's parameters."""
    named = {name.upper(): value for name, value in parameters.items()}  # what a flow's file reads
    return {
        **{PARAMS_PREFIX + name: value for name, value in named.items()},
        "TRUNKLINE_BOOTSTRAP": backbone.bootstrap,
        "TRUNKLINE_REGISTRY": backbone.registry,
        **named,
    }
