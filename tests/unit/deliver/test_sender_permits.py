"""What the senders do with the gate's permits: each call acquires one and finishes it once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from trunkline import Event, Unavailable
from trunkline.connectors.base import Sink
from trunkline.errors import DataError
from trunkline.schemas.codec import nothing_to_learn
from trunkline.streams.admission.gate import Permit
from trunkline.streams.deliver.ownership import OwnershipLease
from trunkline.streams.deliver.poison import PoisonDetector
from trunkline.streams.deliver.senders import SenderPool
from trunkline.streams.deliver.sink_call import SinkCall
from trunkline.streams.flow.policy import Policy
from trunkline.streams.metrics import Metrics, StepMetrics
from trunkline.streams.retry.key_queues import KeyQueues


@dataclass
class Ledger:
    """A gate that permits everything and writes down what it hears."""

    acquired: list[int] = field(default_factory=list)
    finished: list[tuple[int, int, Exception | None]] = field(default_factory=list)

    def permits(self, now: float) -> int:
        return 10

    def acquire(self, now: float, count: int) -> Permit:
        self.acquired.append(count)
        return _Numbered(self, len(self.acquired) - 1)

    def retry_at(self, now: float) -> float:
        return now


@dataclass
class _Numbered:
    ledger: Ledger
    number: int

    def finish(
        self, now: float, sent: int, failure: Exception | None, *, again: bool = False
    ) -> None:
        self.ledger.finished.append((self.number, sent, failure))


class Hangs(Sink[Any]):
    """A sink that answers when it is told to, with what it is told."""

    type = object
    max_batch = 10

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def deliver(self, events: Sequence[Event[Any]]) -> None:
        await self.answer


def decode(value: bytes) -> Any:
    if value == b"bad":
        raise DataError("not Avro")
    return value


def pool(sink: Hangs, queues: KeyQueues, gate: Ledger) -> SenderPool:
    lease = OwnershipLease(lambda: None)
    lease.begin(asyncio.get_running_loop().time())

    class Results:
        def handle(self, call: SinkCall) -> None:
            queues.release(call.batch)

    def failed(failure: BaseException) -> None:
        raise failure

    return SenderPool(
        "erp",
        sink,
        queues,
        gate,
        lease,
        policy=Policy(),
        prefetch_schemas=nothing_to_learn,
        detector=PoisonDetector(queues.key, time.time),
        results=cast(Any, Results()),
        metrics=StepMetrics(Metrics(), "sales", "deliver", "erp"),
        on_fatal=failed,
    )


def run(story: Callable[[SenderPool, Hangs, Ledger], Any], *values: bytes) -> Ledger:
    """What the gate heard of one batch with these values, while the story went on."""

    async def told() -> Ledger:
        gate, queues, sink = Ledger(), KeyQueues(), Hangs()
        senders = pool(sink, queues, gate)
        senders.start()
        await asyncio.sleep(0)  # the senders are idle now
        for number, value in enumerate(values):
            queues.add(Event(key=str(number), value=value, headers=(), decode=decode))
        senders.dispatch()
        assert not senders.idle.is_set()
        await story(senders, sink, gate)
        await senders.end()
        assert senders.idle.is_set()
        return gate

    return asyncio.run(told())


def test_a_call_that_succeeds_reports_all_that_was_sent() -> None:
    async def succeeds(senders: SenderPool, sink: Hangs, gate: Ledger) -> None:
        sink.answer.set_result(None)
        await senders.idle.wait()

    gate = run(succeeds, b"1", b"2")
    assert (gate.acquired, gate.finished) == ([2], [(0, 2, None)])


def test_what_cannot_be_read_was_not_sent_and_the_call_is_reported_once() -> None:
    down = Unavailable("503")

    async def fails(senders: SenderPool, sink: Hangs, gate: Ledger) -> None:
        sink.answer.set_exception(down)
        await senders.idle.wait()

    gate = run(fails, b"1", b"bad", b"3")
    assert (gate.acquired, gate.finished) == ([3], [(0, 2, down)])


def test_a_batch_of_which_nothing_can_be_read_sent_nothing() -> None:
    async def ends(senders: SenderPool, sink: Hangs, gate: Ledger) -> None:
        await senders.idle.wait()

    assert run(ends, b"bad").finished == [(0, 0, None)]


def test_a_call_that_is_cancelled_sent_nothing_as_far_as_is_known() -> None:
    async def hangs(senders: SenderPool, sink: Hangs, gate: Ledger) -> None:
        await asyncio.sleep(0.01)
        assert gate.finished == []

    assert run(hangs, b"1").finished == [(0, 0, None)]


def test_a_call_that_is_cancelled_before_its_first_step_gives_its_permit_back() -> None:
    async def at_once(senders: SenderPool, sink: Hangs, gate: Ledger) -> None:
        assert gate.acquired == [1]

    assert run(at_once, b"1").finished == [(0, 0, None)]
