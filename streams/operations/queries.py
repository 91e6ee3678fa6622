"""The step that asks a destination's system what callers want to know: no order, no repetition."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from trunkline import kafka, naming
from trunkline.connectors.base import Sink
from trunkline.errors import SCHEMA_UNAVAILABLE, DataError, Rejected, Unavailable
from trunkline.event import Event
from trunkline.headers import TL_CLIENT, TL_EXPIRES_AT, TL_OPERATION
from trunkline.kafka.clients import low_latency
from trunkline.kafka.messages import event_of
from trunkline.params import Backbone
from trunkline.schemas.codec import Decode, PrefetchSchemas
from trunkline.streams.admission.gate import NEVER
from trunkline.streams.admission.queries import QueryAdmission
from trunkline.streams.flow.definition import Destination
from trunkline.streams.flow.operation import Call, Operation
from trunkline.streams.journal.record import epoch_of
from trunkline.streams.journal.reply import MAX_REPLY, QueryReply
from trunkline.streams.journal.words import OUR_CREDENTIALS, json_text, shown
from trunkline.streams.operations.sink import request_of
from trunkline.tasks import inheriting

log = logging.getLogger(__name__)

MAX_WAITING = 1_000
"""Queries that wait in one worker for a share of the limits; more are told so at once."""
POLL = 0.25
"""Seconds that one poll waits: how late a stop is noticed."""
READ = 200
TIMEOUT = 5.0
"""Seconds that Kafka has to take a reply: nobody waits longer than a minute for it."""


class QueryStep:
    """Asks one destination's system. ``sink`` is the delivery step's, and open when ``opened`` says
    so; ``decode``: what reads requests, by the names of their operations.

    A query is asked at most once while this worker lives, and not after its time; one that a worker
    has read before it died may be asked once more, since nothing is changed by it. While the system
    is down, paused, or in a maintenance window, callers are told so at once. Runs in the event
    loop, beside a thread that reads. ``failure``: what ended it, or None.
    """

    failure: BaseException | None = None

    def __init__(
        self,
        destination: Destination[Any, Any],
        sink: Sink[Any],
        *,
        backbone: Backbone,
        admission: QueryAdmission,
        opened: Callable[[], bool],
        decode: Mapping[str, Decode],
        prefetch_schemas: PrefetchSchemas,
        clock: Callable[[], float],
    ) -> None:
        self.name = f"{destination.name}.queries"
        self._destination = destination
        self._operations: Mapping[str, Operation[Any]] = {
            one.name: one for one in destination.operations if one.policy.is_query
        }
        self._sink = sink
        self._backbone = backbone
        self._admission = admission
        self._opened = opened
        self._decode = decode
        self._prefetch_schemas = prefetch_schemas
        self._clock = clock
        self._waiting: deque[Event[Any]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=inheriting(self._run), name=f"ask-{self.name}", daemon=True
        )

    async def start(self) -> None:
        """Begin to read."""
        self._loop = asyncio.get_running_loop()
        self._producer: Producer = kafka.producer(self._backbone, timeout=TIMEOUT)
        self._thread.start()

    async def stop(self) -> None:
        """Read nothing more, and answer what is under way."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        await asyncio.to_thread(self._thread.join)
        if self._alarm is not None:
            self._alarm.cancel()
        self._waiting.clear()
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(self._producer.flush, TIMEOUT)

    def dispatch(self) -> None:
        """Ask what waits, as far as the limits allow; called when they may allow more."""
        while self._waiting:
            now = self._loop.time()
            event = self._waiting[0]
            after = self._admission.closed_for(now) if self._opened() else 0.0
            if self._is_late(event):
                self._waiting.popleft()
            elif after is not None:
                why = f"{self._destination.name} is not asked at the moment"
                self._tell(self._waiting.popleft(), "system-unavailable", why=why, after=after)
            elif self._admission.permits(now) <= 0:
                self._ask_again(self._admission.retry_at(now))
                return
            else:
                self._waiting.popleft()
                task = self._loop.create_task(self._ask(event, now))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _ask_again(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if at == NEVER else self._loop.call_at(at + 0.0005, self.dispatch)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
        self.dispatch()

    def _is_late(self, event: Event[Any]) -> bool:
        return epoch_of(event.header(TL_EXPIRES_AT)) <= self._clock()

    async def _ask(self, event: Event[Any], now: float) -> None:
        """One query, within its time; whatever comes of it is told."""
        permit = self._admission.acquire(now)
        sent, failure = 0, None
        try:
            await self._prefetch_schemas([event.value])
            request = request_of(self._operations[event.header(TL_OPERATION)], _call_of(event))
            left = epoch_of(event.header(TL_EXPIRES_AT)) - self._clock()
            sent = 1
            async with asyncio.timeout(max(0.0, left)):
                reply = await self._sink.call(request, event.id, event.traceparent)
        except TimeoutError:
            sent = 0  # the caller has less patience than the sink: that says nothing of the system
            self._tell(event, "system-timeout")
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, its caller is told
            failure = error
            self._failed(event, error)
        else:
            text, why = json_text(reply.body, MAX_REPLY)
            kind = "reply-too-large" if len(reply.body) > MAX_REPLY else "done"
            self._tell(event, kind, status=reply.status, reply=text, why=why)
        finally:
            permit.finish(self._loop.time(), sent, failure)

    def _failed(self, event: Event[Any], error: Exception) -> None:
        status = getattr(error, "status", None)
        status = status if isinstance(status, int) else None
        kind, after = "system-failed", getattr(error, "after", None) or 0.0
        if isinstance(error, (*SCHEMA_UNAVAILABLE, Unavailable)) or status == 429:
            kind = "system-unavailable"
        elif status in OUR_CREDENTIALS:
            kind = "system-credentials-rejected"
            log.error("%s: the system refuses our credentials: %s", self.name, error)
        elif isinstance(error, Rejected) and status is not None and 400 <= status < 500:
            kind = "rejected-by-system"
        why = shown(str(error), self._destination.name)
        code = str(getattr(error, "code", ""))[:100]
        self._tell(event, kind, status=status, why=why, after=float(after), code=code)

    def _tell(self, event: Event[Any], kind: str, **more: Any) -> None:
        reply = QueryReply(query=event.id, kind=kind, **more)
        with suppress(BufferError):  # Kafka is away: nobody would read it in time
            self._producer.produce(naming.REPLIES, reply.encoded(), event.id.encode())
        self._producer.poll(0)

    # The reader's thread.

    def _run(self) -> None:
        group = naming.query_group(self._destination.flow.name, self._destination.name)
        try:
            with closing(kafka.consumer(low_latency(self._backbone), group)) as client:
                client.subscribe([self._destination.queries])
                self._read(client)
        # Whatever it is: without this thread no query would be asked any more.
        except Exception as failure:
            log.exception("the queries of %s cannot be read", self._destination.name)
            self.failure = failure

    def _read(self, client: Consumer) -> None:
        while not self._stopping.is_set():
            polled = client.consume(1, POLL)
            if polled:
                polled += client.consume(READ - 1, 0)
            if messages := [message for message in polled if message.error() is None]:
                with suppress(KafkaException):  # a rebalance: they are asked by another one, too
                    client.commit(offsets=_read_up_to(messages), asynchronous=True)
                self._loop.call_soon_threadsafe(self._arrived, messages)

    def _arrived(self, messages: list[Message]) -> None:
        for message in messages:
            named = dict(message.headers() or ()).get(TL_OPERATION)
            name = named.decode(errors="replace") if isinstance(named, bytes) else ""
            if name not in self._operations:
                continue  # of another version of the flow: its caller is told of the time-out
            decode = self._decode[name]
            with suppress(DataError):  # no gateway's
                event = event_of(message, decode, strict=True)
                if len(self._waiting) >= MAX_WAITING:
                    why = f"{MAX_WAITING} queries wait already"
                    self._tell(event, "system-unavailable", why=why, after=1.0)
                elif not self._is_late(event):
                    self._waiting.append(event)
        self.dispatch()


def _call_of(event: Event[Any]) -> Call[Any]:
    return Call(event.data, event.id, event.header(TL_CLIENT), event.key)


def _read_up_to(messages: list[Message]) -> list[TopicPartition]:
    ends = {m.partition(): (m.topic() or "", (m.offset() or 0) + 1) for m in messages}
    return [TopicPartition(topic, number or 0, end) for number, (topic, end) in ends.items()]
