"""Puts a call into the inbox of its destination."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from trunkline import kafka
from trunkline.event import new_traceparent
from trunkline.gateway.catalog import Offered
from trunkline.headers import TL_REPLAY_ID
from trunkline.kafka.partitioner import partition_of_key
from trunkline.params import Backbone
from trunkline.streams.journal.record import CallRecord, call_headers

TIMEOUT = 10.0
"""Seconds that Kafka has to take a call."""
ANY = -1
"""The partition that the key decides."""
_Record = tuple[str, bytes, bytes | None, list[tuple[str, bytes]], int]
"""Topic, key, value, headers and partition."""


class CallWriter:
    """Writes calls: that they are accepted, and the inbox record. No transaction: one that a dying
    gateway leaves open would hold up the inbox of everybody until it is aborted. ``partitions``:
    of each topic of calls, as many as its inbox has.

    Both records are written side by side. A gateway that dies in between leaves one of them: an
    inbox record alone is run, and the worker tells of it; an ``accepted`` alone is not, and the
    caller, who has no answer, comes again with the same key and completes it.
    """

    def __init__(self, backbone: Backbone, partitions: Mapping[str, int]) -> None:
        self._backbone = backbone
        self._partitions = partitions
        self._producer: Producer = kafka.producer(backbone, timeout=TIMEOUT)
        self._retired: list[Producer] = []
        self._reports: deque[tuple[asyncio.Future[None], KafkaError | None]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="gateway-write", daemon=True)

    def start(self) -> None:
        """Begin to serve delivery reports. In the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Write what is under way, and end."""
        self._stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._producer.flush, TIMEOUT)

    async def write(
        self,
        offered: Offered,
        call: CallRecord,
        value: bytes,
        traceparent: str,
        replay: str = "",
    ) -> None:
        """Return when Kafka has both records. Raises KafkaException. ``replay``: the id under which
        a person sends a call again that was at its end."""
        headers = call_headers(offered.flow, call, traceparent or new_traceparent())
        entity = (call.key or call.call).encode()
        records: list[_Record] = [(offered.inbox, entity, value, headers, ANY)]
        if replay:
            headers.append((TL_REPLAY_ID, replay.encode()))
        else:
            records.append(self._accepted(offered, call))
        await self._write(records)

    async def write_pending(self, offered: Offered, call: CallRecord) -> None:
        """Return when Kafka has it that a call waits for its approval. Raises as ``write``."""
        await self._write([self._accepted(offered, call)])

    async def write_query(
        self, offered: Offered, call: CallRecord, value: bytes, traceparent: str
    ) -> None:
        """Return when Kafka has a query. Raises as ``write``."""
        headers = call_headers(offered.flow, call, traceparent or new_traceparent())
        await self._write([(offered.queries, call.call.encode(), value, headers, ANY)])

    async def write_events(
        self, topic: str, events: Sequence[tuple[bytes, bytes | None, list[tuple[str, bytes]]]]
    ) -> None:
        """Return when Kafka has these events, as key, value and headers: those of a key in their
        order. Raises as ``write``, where some may be written."""
        await self._write([(topic, key, value, said, ANY) for key, value, said in events])

    async def write_decision(self, topic: str, wanted: CallRecord) -> None:
        """Return when Kafka has it that somebody wants a call to be in this state; the worker of
        its partition says whether it is. ``topic``: its own topic of calls. Raises as ``write``."""
        await self._write([self._beside(topic, wanted, wanted.decision_key())])

    def tell(self, topic: str, key: bytes, value: bytes, lost: Callable[[str], None]) -> None:
        """Give Kafka a record and do not wait for it. ``lost``: told in the event loop, and why,
        where Kafka does not take it."""

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                with suppress(RuntimeError):  # the loop is closed: nobody counts any more
                    self._loop.call_soon_threadsafe(lost, error.str())

        try:
            self._producer.produce(topic, value, key, on_delivery=report)
        except BufferError:
            lost("too much waits for Kafka")

    def _accepted(self, offered: Offered, call: CallRecord) -> _Record:
        return self._beside(offered.calls, call, call.record_key(by_gateway=True))

    def _beside(self, topic: str, call: CallRecord, key: bytes) -> _Record:
        """A record in the partition that the call has in the inbox: its worker reads it there."""
        count = self._partitions.get(topic, 0)
        number = partition_of_key((call.key or call.call).encode(), count) if count else ANY
        return topic, key, call.encoded(), [], number

    async def _write(self, records: Sequence[_Record]) -> None:
        producer = self._producer
        try:
            await asyncio.gather(*(self._sent(*record) for record in records))
        except KafkaException as failure:
            # An idempotent producer that has lost its place can never go on.
            if failure.args[0].fatal() and producer is self._producer:
                self._retired.append(producer)
                self._producer = kafka.producer(self._backbone, timeout=TIMEOUT)
            raise

    def _sent(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        partition: int,
    ) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()
        reports = self._reports

        def report(error: KafkaError | None, message: Message) -> None:
            reports.append((done, error))
            if len(reports) > 1:  # the loop is woken once for all that have come meanwhile
                return
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._settle)

        try:
            self._producer.produce(
                *(topic, value, key, partition),
                headers=headers,  # type: ignore[arg-type]  # a list of pairs is one
                on_delivery=report,
            )
        except BufferError:
            full = KafkaError(KafkaError._QUEUE_FULL, "too many calls wait for Kafka")
            done.set_exception(KafkaException(full))
        return done

    def _settle(self) -> None:
        """Tell those whose records are written, or are not. What is added while this runs is either
        seen here, or finds nothing before it and wakes the loop again."""
        reports = self._reports
        while reports:
            done, error = reports.popleft()
            if done.cancelled():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(KafkaException(error))

    def _serve(self) -> None:
        while not self._stopping.is_set():
            # What others have given to a producer that can never go on fails: they are told of it,
            # and would wait for ever else.
            while self._retired:
                retired = self._retired.pop()
                retired.purge()
                retired.flush(TIMEOUT)
            self._producer.poll(0.1)
