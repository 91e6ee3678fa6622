"""What a poll loop does without Kafka: it begins and ends as it should, and reads, pauses and goes
back as what is under way allows.

With Kafka it is tested through what runs on it: tests/integration and tests/crash.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from fake_consumer import FakeConsumer, Log
from trunkline import kafka
from trunkline.kafka import KafkaFatal, poll_loop
from trunkline.kafka.offsets import Partition
from trunkline.kafka.poll_loop import MicroBatch, PollListener, PollLoop, _named
from trunkline.params import Backbone


class Nobody(PollListener):
    """An owner that is never told anything."""

    def on_assigned(self, *_: Any) -> NoReturn:
        raise AssertionError("told of partitions")

    def on_revoked(self, *_: Any, **__: Any) -> NoReturn:
        raise AssertionError("told of partitions")

    def on_batch(self, batch: MicroBatch) -> NoReturn:
        raise AssertionError("told of messages")


def nowhere() -> Consumer:
    return kafka.consumer(Backbone(bootstrap="127.0.0.1:1"), "group")


def refused() -> Consumer:
    raise LookupError("no such setting")


@pytest.fixture
def loop() -> PollLoop:
    return PollLoop(nowhere, ["orders"])


def test_one_that_never_started_stops(loop: PollLoop) -> None:
    asyncio.run(loop.stop())


def test_one_that_reaches_nobody_stops_and_was_never_ready(loop: PollLoop) -> None:
    loop.start(Nobody())
    asyncio.run(loop.stop())
    assert not loop.ready
    assert loop.failure is None


def test_what_ends_it_is_kept_for_its_owner() -> None:
    loop = PollLoop(refused, ["orders"])
    loop.start(Nobody())
    asyncio.run(loop.stop())
    assert isinstance(loop.failure, LookupError)


class Forgetful(Nobody):
    """An owner for whom Kafka has no answer at first."""

    def __init__(self, failures: list[KafkaError]) -> None:
        self.failures = failures

    def on_assigned(self, *_: Any) -> list[TopicPartition]:  # type: ignore[override]
        if self.failures:
            raise KafkaException(self.failures.pop())
        return [TopicPartition("orders", 0, 7)]


def telling(listener: PollListener) -> PollLoop:
    """A loop as it is once it was started for this listener, but without its thread."""
    loop = PollLoop(nowhere, ["orders"])
    loop._listener = listener
    return loop


def test_where_to_go_on_is_asked_for_until_kafka_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = telling(Forgetful([KafkaError(KafkaError._TIMED_OUT)] * 2))
    monkeypatch.setattr(loop._in_flight, "wait_closed", lambda timeout: False)
    assert loop._starts(nowhere(), [TopicPartition("orders", 0)])[0].offset == 7


def test_a_fatal_answer_is_no_reason_to_ask_again() -> None:
    fatal = KafkaError(KafkaError._FATAL, "fenced", fatal=True)
    with pytest.raises(KafkaException, match="fenced"):
        telling(Forgetful([fatal]))._starts(nowhere(), [])


def test_nobody_is_asked_again_who_stops() -> None:
    loop = telling(Forgetful([KafkaError(KafkaError._TIMED_OUT)]))
    asyncio.run(loop.stop())
    assert loop._starts(nowhere(), []) == []


ORDERS: Partition = ("orders", 0)


class Keeper(Nobody):
    """A listener that keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[MicroBatch] = []

    def on_batch(self, batch: MicroBatch) -> None:  # type: ignore[override]
        self.batches.append(batch)

    @property
    def read(self) -> list[int | None]:
        return [message.offset() for batch in self.batches for message in batch.messages]


@pytest.fixture
def client() -> FakeConsumer:
    made = FakeConsumer({ORDERS: Log(range(8), 8)}, most=2, committed_offsets={ORDERS: 3})
    made.assign([TopicPartition(*ORDERS, 3)])
    return made


def reading(keeper: Keeper, **limits: Any) -> PollLoop:
    loop = PollLoop(nowhere, ["orders"], **limits)
    loop._listener = keeper
    return loop


def step(loop: PollLoop, client: FakeConsumer) -> None:
    loop._step(cast(Consumer, client))


def test_a_batch_is_what_has_arrived(client: FakeConsumer) -> None:
    keeper = Keeper()
    loop = reading(keeper)
    step(loop, client)
    (batch,) = keeper.batches
    assert (keeper.read, batch.epoch, batch.group) == ([3, 4, 5], loop.epoch, "group metadata")
    assert loop.group == "group metadata"
    assert not loop.wait_idle(0)
    loop.done(batch)
    assert loop.wait_idle(0)


def test_without_room_everything_is_paused_and_still_polled(
    client: FakeConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third poll finds that there is room again, and all is resumed."""
    keeper = Keeper()
    loop = reading(keeper, max_batches=1)
    step(loop, client)
    polls: list[set[Partition]] = []

    def consume(count: int, timeout: float) -> list[Message]:
        del count, timeout
        polls.append(set(client.paused))
        if len(polls) == 3:
            loop.done(keeper.batches[0])
        return []

    with monkeypatch.context() as full:
        full.setattr(poll_loop, "WAIT_FOR_ROOM", 0.0)
        full.setattr(client, "consume", consume)
        step(loop, client)
    assert polls == [{ORDERS}] * 3
    assert client.paused == set()
    step(loop, client)
    assert keeper.read == [3, 4, 5, 6, 7]


def test_a_partition_of_which_nothing_is_due_stays_paused_when_there_is_room_again(
    client: FakeConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = reading(Keeper(), max_in_flight=1, resume_at=lambda message: time.time() + 3600)
    step(loop, client)
    assert client.paused == {ORDERS}
    answers = iter([False, True])
    monkeypatch.setattr(loop._in_flight, "wait_for_room", lambda timeout: next(answers))
    step(loop, client)
    assert client.paused == {ORDERS}


def test_a_rewind_begins_again_at_the_committed_offset(client: FakeConsumer) -> None:
    keeper = Keeper()
    loop = reading(keeper)
    step(loop, client)
    before = loop.epoch
    loop.rewind()
    assert (loop.epoch, loop.wait_idle(0)) == (before + 1, True)
    loop.done(keeper.batches[0])
    assert loop.wait_idle(0), "that one was of an older epoch"
    step(loop, client)
    assert keeper.read == [3, 4, 5] * 2
    assert keeper.batches[1].epoch == before + 1


def test_what_was_fetched_before_a_rewind_is_dropped(client: FakeConsumer) -> None:
    keeper = Keeper()
    loop = reading(keeper)

    def consume(count: int, timeout: float) -> list[Message]:
        loop.rewind()  # the event loop asks for it while this thread polls
        return FakeConsumer.consume(client, count, timeout)

    client.consume = consume  # type: ignore[method-assign]
    step(loop, client)
    assert keeper.batches == []


def test_committed_offsets_that_kafka_does_not_tell_are_asked_for_again(
    client: FakeConsumer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper()
    loop = reading(keeper)
    loop.rewind()
    failure = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    with monkeypatch.context() as away:
        away.setattr(poll_loop, "committed_offsets", raising(failure))
        step(loop, client)
    assert "cannot be read yet" in caplog.text
    assert keeper.batches == []
    step(loop, client)
    assert keeper.read == [3, 4, 5]


def test_an_error_that_passes_is_logged_and_a_fatal_one_ends_the_loop(
    client: FakeConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper()
    client.troubles = [KafkaError(KafkaError._TRANSPORT, "the broker is restarted")]
    step(reading(keeper), client)
    assert keeper.read == [3, 4]
    assert "the broker is restarted" in caplog.text
    # As a consumer gives it: only its code says that it is fatal.
    client.troubles = [KafkaError(KafkaError._FATAL, "fenced")]
    with pytest.raises(KafkaException, match="fenced"):
        step(reading(keeper), client)


def test_what_kafka_decided_is_told_without_a_traceback(
    client: FakeConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    loop = reading(Keeper())
    fatal = loop._told(KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True)))
    assert isinstance(fatal, KafkaFatal)
    assert "fenced. If another process has its group.instance.id" in str(fatal)
    unforeseen = ValueError("a defect")
    assert loop._told(unforeseen) is unforeseen
    assert [record.exc_info is None for record in caplog.records] == [True, False]


class Waiting(Nobody):
    """An owner that takes a batch and does not come back until ``free`` is set."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.taken = threading.Event()

    def on_batch(self, batch: MicroBatch) -> None:  # type: ignore[override]
        self.taken.set()
        self.free.wait(30)


def test_a_loop_that_does_not_turn_for_half_a_minute_is_stuck(client: FakeConsumer) -> None:
    now, owner = [1000.0], Waiting()
    client.subscribe = lambda *_, **__: None  # type: ignore[attr-defined]
    client.close = lambda: None  # type: ignore[method-assign]
    loop = PollLoop(lambda: cast(Consumer, client), ["orders"], clock=lambda: now[0])
    assert not loop.stuck, "it does not run"
    loop.start(owner)
    assert owner.taken.wait(30)
    now[0] += 30
    assert not loop.stuck
    now[0] += 1
    assert loop.stuck
    owner.free.set()
    asyncio.run(loop.stop())
    assert not loop.stuck


def raising(failure: Exception) -> Callable[..., NoReturn]:
    def call(*_: Any, **__: Any) -> NoReturn:
        raise failure

    return call


def test_partitions_are_told_in_a_few_words() -> None:
    """A destination with five retry topics has six times as many as its inbox."""
    topics = [f"shop.erp.{name}" for name in ("inbox", "retry.10s", "retry.1m")]
    every = [TopicPartition(topic, number) for number in (7, 0, 1, 2, 3) for topic in topics]
    assert _named(every) == "15 partitions: 0-3, 7 of shop.erp.inbox and of 2 more topics"
    more = _named([*every, TopicPartition("orders", 2)])
    assert more.startswith("16 partitions: 2 of orders; 0-3, 7 of shop.erp.inbox and of 2 more")
    assert _named([]) == "nothing"
