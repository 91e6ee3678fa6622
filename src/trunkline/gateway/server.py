"""A gateway as a process: it reads what there is, opens its doors, and closes them again."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from trunkline import kafka, naming
from trunkline.access.file import PolicyFile
from trunkline.access.quota import Quotas
from trunkline.errors import ConfigurationError
from trunkline.gateway.app import Doors, Gateway
from trunkline.gateway.audit import AccessAudit
from trunkline.gateway.availability import Availability
from trunkline.gateway.book import CallBook
from trunkline.gateway.calls import Calls
from trunkline.gateway.catalog import Catalog
from trunkline.gateway.decisions import Decisions
from trunkline.gateway.events import EventTopics
from trunkline.gateway.identity.callers import Callers
from trunkline.gateway.problems import Problem, ends_connection
from trunkline.gateway.queries import Queries
from trunkline.gateway.quota.counts import JournalCounts
from trunkline.gateway.quota.limits import ClientLimits
from trunkline.gateway.requests import Limits
from trunkline.gateway.tail import CallTail, Told
from trunkline.gateway.writer import CallWriter
from trunkline.naming import REPLIES
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.flow.definition import Flow
from trunkline.streams.plan.topics import gateway_topics, required_topics
from trunkline.streams.quota.client import QuotaClient
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

OWN_FILES = 500
"""Files that a gateway has open besides connections of callers."""
GRACE = 10
"""Seconds that requests have to end when the gateway stops; who waits is answered at once."""


class Server:
    """One gateway. ``flows``: checked ones; ``access``: the file of clients, followed each second.

    Raises ConfigurationError, RegistryUnavailable and KafkaUnavailable when it is made. Blocks.
    """

    def __init__(
        self,
        flows: Sequence[Flow[Any]],
        backbone: Backbone,
        access: Path,
        *,
        host: str,
        port: int,
        limits: Limits,
        version: str,
    ) -> None:
        self._failure: BaseException | None = None
        self._seated = False
        self._access = PolicyFile(access)
        self._callers = Callers(lambda: self._access.policy, time.time, self._failed)
        catalog, events = _offers(flows, backbone)
        topics, control = _topics(flows, catalog, events, backbone)
        self._availability = Availability(time.time)
        self._quotas = Quotas()
        self._shares = QuotaClient(backbone, topic=naming.SHARES, compares=False)
        self._counts = JournalCounts(time.time, catalog.cost)
        self._limits = ClientLimits(self._shares, self._quotas, self._counts)
        self._book = CallBook(time.time)
        self._writer = CallWriter(backbone, topics)
        queries = Queries(self._writer, time.time)
        replies = queries if catalog.has_queries else None
        self._tail = CallTail(*(backbone, topics, self._received, replies, control, self._heard))
        doors = Doors(
            catalog=catalog,
            book=self._book,
            calls=Calls(self._book, self._writer, time.time),
            queries=queries,
            availability=self._availability,
            events=events,
            writer=self._writer,
            decisions=Decisions(self._book, self._writer, time.time),
            quota=self._limits,
            audit=AccessAudit(partial(self._writer.tell, naming.ACCESSES), time.time),
            callers=self._callers,
            not_ready=self._not_ready,
            dead=self._dead,
            version=version,
            limits=limits,
        )
        _open_files(limits.connections)
        self._server = _Server(_listening(Gateway(doors).app(), host, port, limits))

    async def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; requests under way are answered before it ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self._writer.start()
        self._tail.start()
        await self._shares.start()
        tasks = [
            supervised_task(self._follow_access(), "access-file", self._failed),
            supervised_task(self._limits.keep_seat(), "quota-seat", self._failed),
        ]
        try:
            await self._server.serve()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._callers.stop()
            await self._tail.stop()
            await self._writer.stop()
            # After the last call is written: what it gives up here others may let in at once.
            await self._shares.stop()

    def _stop(self) -> None:
        self._server.should_exit = True
        self._book.close()

    def _received(self, told: list[Told]) -> None:
        for topic, record, by_gateway in told:
            if self._book.get(record.call) is None:
                self._counts.read(topic, record)
            self._book.apply(topic, record, by_gateway=by_gateway)

    def _heard(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """A record of a control topic: that of a flow, or that of all gateways."""
        if topic == naming.control(naming.GATEWAYS):
            self._quotas.heard(key, value)
        else:
            self._availability.heard(topic, key, value)

    def _failed(self, failure: BaseException) -> None:
        log.error("what the gateway follows cannot be followed any more", exc_info=failure)
        self._failure = failure

    def _dead(self) -> str:
        failure = self._tail.failure or self._shares.failure or self._failure
        return "" if failure is None else f"{type(failure).__name__}: {failure}"

    def _not_ready(self) -> str:
        if self._tail.failure is not None:
            return "what workers say of calls cannot be followed any more"
        if self._failure is not None:  # whoever was revoked since would still be let in
            return "the file of clients cannot be followed any more"
        if self._shares.failure is not None:
            return "the limits of clients cannot be followed any more"
        if not self._tail.caught_up.is_set():
            return "it still reads the calls of the last day"
        self._seated = self._seated or self._limits.is_seated
        return "" if self._seated else "it does not know yet which other gateways there are"

    async def _follow_access(self) -> None:
        self._callers.follow()
        while True:
            await asyncio.sleep(0.5)
            if self._access.refresh():
                if self._access.trouble:
                    log.error("the file of clients is left as it was: %s", self._access.trouble)
                else:
                    log.info("the file of clients was read again")
                self._callers.follow()


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again once it has ended, which would end the
    process before what was written is confirmed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listening(app: Starlette, host: str, port: int, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=limits.head,
        timeout_graceful_shutdown=GRACE,
    )


def _open_files(connections: int) -> None:
    """Let the process have as many connections as it takes. Without that a loop that is out of
    files accepts nobody for a second, good callers neither."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OWN_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        log.warning(
            "%d connections need %d open files and %d are allowed: raise that limit (ulimit -n), "
            "or lower --max-connections",
            *(connections, wanted, most),
        )


def _offers(flows: Sequence[Flow[Any]], backbone: Backbone) -> tuple[Catalog, EventTopics]:
    """What these flows offer. Raises ConfigurationError where that is nothing."""
    with closing(registry_of(backbone)) as registry:
        codec = Codec(registry)
        catalog = Catalog.of(flows, backbone, codec)
        events = EventTopics.of(flows, backbone, codec)
    if not catalog.all and not events.names:
        raise ConfigurationError(
            "no flow of these has an operation or a received topic: declare one with "
            "@flow.operation(to=…) or flow.received_topic(…)"
        )
    return catalog, events


def _topics(
    flows: Sequence[Flow[Any]], catalog: Catalog, events: EventTopics, backbone: Backbone
) -> tuple[dict[str, int], list[str]]:
    """The topics of calls and their partitions, and the control topics. What is missing is made if
    the environment allows it."""
    specs = [spec for flow in flows for spec in required_topics(flow, backbone.partitions)]
    needed = {*events.names, *catalog.topics, *catalog.inboxes}
    needed |= {naming.control(one.flow) for one in catalog.all}
    needed |= {naming.SHARES, naming.ACCESSES, common := naming.control(naming.GATEWAYS)}
    needed |= {REPLIES} if catalog.has_queries else set()
    specs = [*specs, *gateway_topics()]
    kafka.ensure_topics(backbone, {s.name: s for s in specs if s.name in needed}.values())
    there = kafka.existing_topics(kafka.admin(backbone), expected=catalog.topics)
    if missing := [topic for topic in catalog.topics if topic not in there]:
        raise ConfigurationError(f"topics are missing: {', '.join(missing)}")
    control = {common, *(naming.control(one.flow) for one in catalog.all)}
    # Not those alone that Kafka lists: one that was made a moment ago may be in no list yet, and a
    # gateway that does not follow it would hear of no changed limit as long as it runs.
    return {topic: there[topic] for topic in catalog.topics}, sorted(control)


class _Telling(H11Protocol):
    """uvicorn's HTTP/1.1, which answers what is no HTTP as anything else that is wrong."""

    def send_400_response(self, msg: str) -> None:
        """Called while what h11 says of it is handled; nothing more of the connection is read."""
        failure = sys.exc_info()[1]
        hint = failure.error_status_hint if isinstance(failure, h11.RemoteProtocolError) else 400
        problem = Problem("not-http", status=hint)
        if hint == 431:
            most = self.config.h11_max_incomplete_event_size
            problem = Problem("head-too-large", f"at most {most} bytes")
        # Else an answer was begun or given, and this is the rest of its request.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = ends_connection(problem).response()
            head = h11.Response(status_code=response.status_code, headers=response.raw_headers)
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with limits that it has not: of connections, of the time in which the head
    of a request must be there, however slowly its bytes drip, and of that in which a caller leaves
    an answer unread."""

    class _Limited(_Telling):
        _deadline: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
            else:
                self._expect_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._awaits_head():
                self._expect_head()
            elif self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(limits.write_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def connection_lost(self, exc: Exception | None) -> None:
            for timer in (self._deadline, self._unread):
                if timer is not None:
                    timer.cancel()
            super().connection_lost(exc)

        def _awaits_head(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _expect_head(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(limits.head_seconds, self._too_late)

        def _too_late(self) -> None:
            self._deadline = None
            if self._awaits_head():
                self.transport.abort()

    return _Limited
