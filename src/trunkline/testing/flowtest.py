"""A flow in memory, in virtual time: publish, let time pass, and look at what arrived.

Routes, encoding, order, retries, breakers and dead letters are the engine's own; only Kafka, the
registry, the clock and the destinations' systems are replaced.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, Generic, Self, TypeVar, cast

from trunkline import naming
from trunkline.connectors.base import Sink
from trunkline.errors import ConfigurationError, DataError
from trunkline.event import Change, Event, Record
from trunkline.kafka.messages import event_of
from trunkline.params import Params
from trunkline.schemas.codec import Codec
from trunkline.schemas.subjects import subject
from trunkline.streams.admission.manual import Override, OverrideRecord
from trunkline.streams.control.records import HaltKey, OverrideKey
from trunkline.streams.dlq.halted import halted_event_of
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.flow.annotations import type_of_request, type_of_topic
from trunkline.streams.flow.definition import Destination, Flow, Topic
from trunkline.streams.flow.operation import Call, Operation
from trunkline.streams.flow.source import SourceDefinition
from trunkline.streams.journal.record import CallRecord
from trunkline.streams.metrics import Metrics
from trunkline.streams.operations.sink import request_of
from trunkline.streams.plan.needs import operation_subject
from trunkline.streams.publish.publisher import Publisher, TopicMapping
from trunkline.streams.worker.compiler import Compiler
from trunkline.testing import calls
from trunkline.testing.control import MemoryControl
from trunkline.testing.keys import IdempotencyKeys
from trunkline.testing.loop import VirtualLoop
from trunkline.testing.registry import MemoryRegistry
from trunkline.testing.routing import Unrouted
from trunkline.testing.script import Script, ScriptedSink
from trunkline.testing.standing import built, refuses, stand_in
from trunkline.testing.tables import MemoryTables
from trunkline.testing.topics import Topics
from trunkline.testing.waits import Wait, waits
from trunkline.testing.worker import Delivery, Parts, Worker
from trunkline.times import iso, parse_duration

T = TypeVar("T")
EnvT = TypeVar("EnvT", bound=Params)

NEW_YEAR = "2026-01-01T00:00:00Z"


class FlowTest(Generic[EnvT]):
    """One flow under test, to be used as a context manager; see docs/testing.md.

    ``env``: parameters, if the destinations' builders or routes need real ones; no sink is ever
    opened.
    ``start``: the wall clock at the beginning, ISO 8601. ``partitions``: of each topic. ``seed``:
    of the jitter of delays; None leaves it out, so that each delay is as written. ``clients``: what
    enrichments get in place of the flow's clients, by type: ``{httpx.AsyncClient: fake}``.

    Time stands still but in ``advance`` and ``run_until_idle``. Each method that lets something
    happen raises what ended the engine, if something did. Raises ConfigurationError for a flow
    that cannot run.
    """

    def __init__(
        self,
        flow: Flow[EnvT],
        *,
        env: EnvT | None = None,
        start: str = NEW_YEAR,
        partitions: int = 4,
        seed: int | None = None,
        clients: Mapping[type, Any] | None = None,
    ) -> None:
        if flow.problems:
            raise ConfigurationError("\n".join(map(str, flow.problems)))
        self._flow = flow
        self._loop = VirtualLoop(datetime.fromisoformat(start).timestamp())
        self.backbone = Topics(self._loop.clock, partitions)
        """Kafka's part: its behaviour can be made worse, and its topics looked at."""
        self._control = MemoryControl()
        self._scripts = {d.name: Script[Any](self._loop.time) for d in flow.destinations}
        self._codec = Codec(MemoryRegistry())
        self._env = env
        self._stands_in = known = env or stand_in(flow.params)
        self._compiler = Compiler(flow, self._codec, register=True, env=known)
        self._tables = MemoryTables(self._compiler.tables)
        self._unrouted = Unrouted()
        self._count = 0
        self._left_out: Counter[str] = Counter()
        try:
            sinks = {d.name: built(d, env, known) for d in flow.destinations}
            self._parts = self._made_parts(known, sinks, seed, clients or {})
            self._worker = Worker(self._parts)
        except BaseException:
            self._loop.close()
            raise

    def _made_parts(
        self,
        env: Params,
        sinks: Mapping[str, Sink[Any]],
        seed: int | None,
        clients: Mapping[type, Any],
    ) -> Parts:
        return Parts(
            flow=self._flow,
            env=env,
            clients=clients,
            topics=self.backbone,
            control=self._control,
            compiler=self._compiler,
            tables=self._tables,
            metrics=Metrics(),
            sinks={n: ScriptedSink(sink, self._scripts[n]) for n, sink in sinks.items()},
            keys=IdempotencyKeys(),
            unrouted=self._unrouted,
            prefetch_schemas=self._codec.prefetch_schemas,
            clock=self._loop.clock,
            random=(lambda: 0.0) if seed is None else Random(seed).random,
        )

    def __enter__(self) -> Self:
        self._loop.run(self._worker.start())
        self._settle()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._loop.run(self._worker.stop())
            if kind is None:
                self._check()
        finally:
            self._loop.close()

    # What happens.

    def destination(self, destination: Destination[EnvT, T]) -> Script[T]:
        """How a destination answers, and what it was asked."""
        return self._scripts[destination.name]

    def publish(
        self,
        topic: Topic[T],
        data: T | None,
        *,
        key: str = "",
        change: Change = "create",
        type: str = "",
        id: str = "",
    ) -> str:
        """A canonical event; returns its ``ce_id``.

        ``data``: None for a delete. ``key``: the field ``id`` of the data by default. ``type``:
        ``ce_type``; the topic's own by default. ``id``: ``event-1``, ``event-2``, … by default.
        Raises SerializationError for data that do not fit the topic's schema.
        """
        self._count += 1
        encode: Callable[[Any], bytes] = self._codec.encoder(
            type_of_topic(topic), subject(topic.topic), register=True
        )
        if data is not None:
            encode(data)  # a publisher would make a dead letter of it
        record = Record(
            key=key or _key(data),
            data=cast(Any, data) or {},
            change="delete" if data is None else change,
            id=id or f"event-{self._count}",
            time=self.now,
        )
        output = TopicMapping(
            topic.topic, lambda record: data, encode, event_type=type or topic.event_type
        )
        publisher = Publisher(f"/{self._flow.name}/test", "", [output], self._flow.version)
        self._do(self._worker.publish(publisher.publish([record]).records))
        return record.id

    def read(self, source: SourceDefinition[EnvT], *records: Record) -> None:
        """The source reads these records, which its topics' functions make canonical.

        Raises DataError, and publishes nothing, if the flow cannot read one of them and the source
        refuses that, as ``WebhookSource(refuse=True)``: its caller is told this reason.
        """
        publisher = self._compiler.publisher(source)
        try:
            result = publisher.publish(records, refuse=True)
        except DataError:
            if refuses(source, self._env, self._stands_in):
                raise
            result = publisher.publish(records)
        self._left_out += result.left_out
        self._do(self._worker.publish(result.records))

    def call(self, operation: Operation[T], data: T, *, id: str = "", client: str = "test") -> str:
        """A client calls an operation at the gateway, which accepts it; returns the call's id.

        ``id``: ``call-1``, ``call-2``, … by default; the same one again is a repeated call. Raises
        ConfigurationError for a query, SerializationError for data that do not fit the request.
        """
        if operation.policy.is_query:
            raise ConfigurationError(f"{operation.name} only reads: use ask()")
        self._count += 1
        id = id or f"call-{self._count}"
        data = operation.sent(data)
        value = self._encode_request(operation)(data)
        key = str(cast(Any, data)[operation.policy.key]) if operation.policy.key else ""
        call = calls.accepted(operation, id, key, client, self._loop.clock())
        accepted_key = call.record_key(by_gateway=True)
        calls.write_beside(self.backbone, operation, call, accepted_key)
        self.backbone.write([calls.inbox_record(operation, call, value)])
        self._settle()
        return id

    def ask(self, operation: Operation[T], data: T, *, client: str = "test") -> Any:
        """A client asks a query; returns the answer's JSON values. Raises what the system's sink
        raises, as Rejected with its status. Limits and breakers are not asked here."""
        if not operation.policy.is_query:
            raise ConfigurationError(f"{operation.name} does not only read: use call()")
        data = operation.sent(data)
        self._encode_request(operation)(data)
        self._count += 1
        key = str(cast(Any, data)[operation.policy.key]) if operation.policy.key else ""
        request = request_of(operation, Call(data, f"query-{self._count}", client, key))
        reply = self._loop.run(self._scripts[operation.to.name].run(request, ""))
        return json.loads(reply.body, parse_float=str)

    def cancel(self, id: str) -> None:
        """A client cancels a call; the worker takes it up within a second."""
        found = self.call_state(id)
        operation = next(one for one in self._flow.operations if one.name == found.operation)
        wanted = calls.cancelled(found, self._loop.clock())
        calls.write_beside(self.backbone, operation, wanted, wanted.decision_key())
        self._settle()

    def _encode_request(self, operation: Operation[T]) -> Callable[[T], bytes]:
        named = subject(operation_subject(operation))
        encode: Callable[[T], bytes] = self._codec.encoder(
            type_of_request(operation), named, register=True
        )
        return encode

    def advance(self, duration: str) -> None:
        """Let time pass, as ``"10m"``; all that happens until then happens."""
        self._settle(parse_duration(duration))

    def run_until_idle(self, longest: str = "1d") -> None:
        """Let time pass until nothing waits any more. Raises AssertionError if after ``longest``
        something still does."""
        end = self.elapsed + parse_duration(longest)
        while (left := self._left()) and self.elapsed < end:
            self._settle(min(1.0, end - self.elapsed))
        if left:
            shown = "\n".join(map(str, left[:20]))
            raise AssertionError(f"after {longest} this is still to be done:\n{shown}")

    def crash(self) -> None:
        """The worker is killed, and a new one starts from what was committed."""
        self._loop.run(self._worker.crash())
        self._begin()

    def restart(self) -> None:
        """The worker ends as it should, and a new one starts."""
        self._do(self._worker.stop())
        self._begin()

    def rebalance(self, *, lost: bool = False) -> None:
        """All partitions go and come back; ``lost``: without a chance to commit before."""
        for delivery in self._worker.deliveries.values():
            self._do(delivery.reader.rebalance(lost=lost))

    def _begin(self) -> None:
        self._worker = Worker(self._parts)
        self._do(self._worker.start())

    # What operators command.

    def pause(self, destination: Destination[EnvT, Any], *, until: datetime | None = None) -> None:
        """As ``trunkline destination pause``: nothing is sent."""
        self._command(destination, "paused", until)

    def force(self, destination: Destination[EnvT, Any], *, until: datetime | None = None) -> None:
        """Events are sent whatever the breaker says."""
        self._command(destination, "forced", until)

    def resume(self, destination: Destination[EnvT, Any]) -> None:
        """As ``trunkline destination resume``: the end of a pause, or of a dead-letter
        limit that has tripped."""
        self._command(destination, "auto", None)

    def release(self, letter: DeadLetter, action: str = "retry") -> None:
        """Decide about the event that halts its key (``on_dead="halt"``): ``retry`` or
        ``discard``. Obeyed when the event looks again, within a minute."""
        name = naming.part_of_dlq(letter.topic)
        key = HaltKey(name, *halted_event_of(letter, letter.partition))
        self._do(self._control.put(key.text, {"action": action}))

    def _command(
        self, destination: Destination[EnvT, Any], state: Override, until: datetime | None
    ) -> None:
        command = OverrideRecord(
            state=state,
            until=None if until is None else until.isoformat(),
            by="test",
            at=iso(self._loop.clock()),
        )
        self._do(self._control.put(OverrideKey(destination.name).text, command.value()))

    # What can be seen.

    @property
    def elapsed(self) -> float:
        """Seconds since the test began."""
        return self._loop.time()

    @property
    def now(self) -> datetime:
        """The wall clock, UTC."""
        return datetime.fromtimestamp(self._loop.clock(), UTC)

    def state(self, destination: Destination[EnvT, Any]) -> str:
        """How sending is: ``closed`` (all is well), ``open``, ``half-open``, ``slow-start``,
        ``paused``, ``maintenance``, ``dead-letter-limit`` or ``throttled``."""
        return self._delivery(destination).admission.state(self._loop.time())

    def dead_letters(self, at: Destination[EnvT, Any] | SourceDefinition[EnvT]) -> list[DeadLetter]:
        """What is in a destination's, or a source's, dead-letter queue."""
        return [DeadLetter.of(record) for record in self.backbone.records(at.dlq)]

    def waiting(self, destination: Destination[EnvT, Any]) -> list[Wait]:
        """What is neither delivered nor dead-lettered, as far as is committed: commits come
        within 0.2 seconds."""
        return waits(self.backbone, destination, self._loop.start)

    def call_state(self, id: str) -> CallRecord:
        """How a call stands: ``state``, ``status``, ``reply`` (a JSON text), ``why``, ``attempt``.
        Raises KeyError for one that nobody has made."""
        return calls.newest(self.backbone, [d.calls for d in self._flow.destinations], id)

    @property
    def called(self) -> list[CallRecord]:
        """All calls of the flow's operations, also those that its routes made, as they stand."""
        return calls.all_of(self.backbone, [d.calls for d in self._flow.destinations])

    @property
    def held(self) -> list[str]:
        """The ids of canonical events that are not routed yet, since a route raised Unavailable or
        Retryable, for them or for one before them in their partition."""
        return self._unrouted.ids

    def published(self, topic: Topic[T]) -> list[Event[T]]:
        """The events of a canonical topic."""
        decode: Callable[[bytes], T] = self._codec.decoder(type_of_topic(topic))
        records = self.backbone.records(topic.topic)
        return [event_of(record, decode) for record in records]

    def left_out(self, of: Topic[Any] | None = None) -> int:
        """How many records that a source read are no event of this topic, as its function made None
        of them; without a topic: how many were of a stream that the source ignores."""
        return self._left_out["" if of is None else of.topic]

    def _delivery(self, destination: Destination[EnvT, Any]) -> Delivery:
        return self._worker.deliveries[destination.name]

    def _left(self) -> list[object]:
        waiting = [wait for d in self._flow.destinations for wait in self.waiting(d)]
        return [*self._unrouted.shown, *waiting]

    # How it runs.

    def _do(self, work: Any) -> None:
        self._loop.run(work)
        self._settle()

    def _settle(self, seconds: float = 0.0) -> None:
        self._loop.run_for(seconds)
        self._check()

    def _check(self) -> None:
        mistakes, self._loop.mistakes = self._loop.mistakes, []
        for failure in (*mistakes, *self._worker.failures, self._control.failure):
            if failure is not None:
                raise failure


def _key(data: Any) -> str:
    if isinstance(data, dict) and data.get("id"):
        return str(data["id"])
    raise ValueError("what is published needs a key: give key=, or data with a field id")
