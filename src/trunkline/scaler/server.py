"""A scaler as a process: a thread that reads, KEDA's calls over gRPC, health pages over HTTP."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import grpc.aio
from aiohttp import web
from confluent_kafka import KafkaException

from trunkline.errors import ConfigurationError
from trunkline.kafka import KafkaUnavailable
from trunkline.params import Backbone
from trunkline.scaler.demand import KNOWN_FOR
from trunkline.scaler.metrics import ScalerMetrics
from trunkline.scaler.reader import ClusterReader
from trunkline.scaler.service import ExternalScaler, handlers
from trunkline.scaler.steps import Catalogue
from trunkline.scaler.tls import TlsFiles
from trunkline.scaler.watch import Watches
from trunkline.streams.flow.definition import Flow
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks at Kafka."""
TICK = 0.25
"""Seconds between two looks at the clock."""
GRACE = 5.0
"""Seconds that calls under way have when it stops."""


@dataclass(frozen=True, slots=True)
class ScalerOptions:
    """``port``: of KEDA's calls; ``health_port``: of /healthz, /readyz and /metrics, None for none;
    ``lead``: seconds that a worker is taken to start in, until it was measured; ``tls``: of KEDA's
    calls."""

    host: str = "127.0.0.1"
    port: int = 9090
    health_port: int | None = None
    lead: float = 15.0
    tls: TlsFiles | None = None


class ScalerServer:
    """One scaler. Several side by side are replicas: each knows all by itself.

    ``flows``: checked ones, by how the ScaledObjects name them. ``ports``: those that it listens
    at, once ``started`` is set.
    """

    def __init__(
        self, flows: Mapping[str, Flow[Any]], backbone: Backbone, options: ScalerOptions
    ) -> None:
        self._backbone = backbone
        self._options = options
        self._catalogue = Catalogue(flows)
        self._failure: BaseException | None = None
        self.ports: tuple[int, int] = (0, 0)
        self.started = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set. Raises ConfigurationError for a port that is taken, and what
        ended the reading."""
        self._loop, self._stop = asyncio.get_running_loop(), stop
        self._watches = Watches(self._catalogue, time.time, self._options.lead)
        scaler = ExternalScaler(self._watches)
        # Else two scalers would share a port, and a wrong one go unnoticed.
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((handlers(scaler),))
        port = self._listen(server)
        await server.start()
        pages = await self._pages()
        reading = Reading(self._backbone, self._catalogue, self._watches, self._failed)
        reading.start()
        ticking = supervised_task(self._tick(), "scaler-tick", self._failed)
        self.ports = (port, pages.addresses[0][1] if pages.addresses else 0)
        self.started.set()
        log.info("ready: KEDA's calls at %s:%d", self._options.host, port)
        try:
            await stop.wait()
        finally:
            scaler.stop()
            await server.stop(GRACE)
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            await pages.cleanup()
            await reading.stop()
        if self._failure is not None:
            raise self._failure

    async def until_signal(self) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await self.run(stop)
        log.info("stopped")

    def _listen(self, server: grpc.aio.Server) -> int:
        address = f"{self._options.host}:{self._options.port}"
        tls = self._options.tls
        credentials = None if tls is None else tls.credentials()
        try:
            if credentials is not None:
                return server.add_secure_port(address, credentials)
            return server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigurationError(
                f"cannot listen at {address}: is another program there? Give another --port"
            ) from error

    async def _pages(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._figures = ScalerMetrics(self._watches)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE)
        await runner.setup()
        if self._options.health_port is not None:
            await web.TCPSite(runner, self._options.host, self._options.health_port).start()
        return runner

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        # As long as it answers KEDA from memory it is of use, also while Kafka is away.
        if self._watches.age() <= KNOWN_FOR:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="Kafka could not be looked at for two minutes\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._figures.text(), content_type="text/plain")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._watches.tick()

    def _failed(self, failure: BaseException) -> None:
        """A defect: the process ends, and is started again."""
        self._failure = self._failure or failure
        self._stop.set()


class Reading:
    """Looks at Kafka again and again, in a thread of its own. ``failed``: told, in the event loop,
    what ended it."""

    def __init__(
        self,
        backbone: Backbone,
        catalogue: Catalogue,
        watches: Watches,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._backbone = backbone
        self._catalogue = catalogue
        self._watches = watches
        self._failed = failed
        self._stopping = threading.Event()
        # A daemon: a process that ends by an error must not wait for one that waits for Kafka.
        self._thread = threading.Thread(target=self._run, name="scaler-read", daemon=True)

    def start(self) -> None:
        """Begin. In the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End; what is under way is waited for, but not for a Kafka that is away."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, GRACE)

    def _run(self) -> None:
        try:
            with closing(ClusterReader(self._backbone, self._catalogue.steps)) as reader:
                away = ""
                while not self._stopping.is_set():
                    away = self._look(reader, away)
                    self._stopping.wait(LOOK_EVERY)
        # Whatever it is: a scaler without this thread would answer what was once.
        except Exception as failure:
            log.exception("Kafka cannot be looked at any more")
            self._in_loop(self._failed, failure)

    def _look(self, reader: ClusterReader, away: str) -> str:
        """Look once. Returns why it was in vain, or ""."""
        try:
            found = reader.look(time.time())
        except (KafkaUnavailable, KafkaException) as failure:
            why = str(failure.args[0]) if failure.args else str(failure)
            if not away:
                log.warning(
                    "Kafka cannot be looked at, what is known holds for two minutes: %s", why
                )
            self._in_loop(self._watches.failed, why)
            return why
        if away:
            log.warning("Kafka can be looked at again")
        self._in_loop(self._watches.take, found)
        return ""

    def _in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        # A look may still end while the loop does; a closed one raises RuntimeError here.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)
