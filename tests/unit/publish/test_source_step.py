"""A source in one worker: it runs while its position is ours, and goes on after failures."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from source_step_kit import Numbers, Running, TwoBatches, eventually
from trunkline import ConfigurationError, Record
from trunkline.connectors.base import Batch, Position, Source
from trunkline.errors import SourceError
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.publish import source_step
from trunkline.streams.publish.stored_position import reset_record


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_step, "FIRST_PAUSE", 0.001)


def test_records_and_position_are_one_transaction_and_then_acknowledged() -> None:
    with Running(Numbers([2, 1])) as running:
        assert running.source.waits.wait(5)
        eventually(lambda: running.source.acknowledged == [2, 3])
    assert running.committed == [[b"1", b"2", b"db"], [b"3", b"db"]]
    assert running.source.closed == 1


def test_what_a_topic_leaves_out_is_counted_once_it_is_committed() -> None:
    odd = lambda record: record.data if int(record.key) % 2 else None  # noqa: E731
    with Running(TwoBatches([]), failures=1, function=odd) as running:
        eventually(lambda: len(running.source.acknowledged) == 2)
    assert running.committed[0] == [b"1", b"db"]
    metric = running.metrics._left_out.labels("shop", "publish", "db", "orders")
    assert metric._value.get() == len(running.committed), "one of each two, and none of what failed"


def test_large_batches_commit_while_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_step, "LARGE_BATCH", 2)
    with Running(Numbers([2, 2])) as running:
        assert running.source.waits.wait(5)
        assert running.source.acknowledged == [2], "the last one is acknowledged once more comes"
    assert running.source.acknowledged == [2, 4]


@pytest.mark.parametrize("large", [1, 1000], ids=["large batches", "small batches"])
def test_a_failed_commit_is_read_again_from_the_stored_position(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_step, "LARGE_BATCH", large)
    with Running(TwoBatches([]), failures=1) as running:
        eventually(lambda: len(running.committed) > 0)
    assert running.source.read_from[0] is None
    assert running.source.read_from[1] is None, "nothing is committed"
    assert running.committed[0] == [b"1", b"2", b"db"]
    assert running.source.closed == len(running.source.read_from)


class Lagging(Numbers):
    """Knows after each batch that more waits."""

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        for batch in super().read(position, stop):
            yield Batch(batch.records, batch.position, current=False)


def test_changes_that_follow_a_small_batch_are_gathered_for_a_while() -> None:
    with Running(Numbers([1, 1]), linger=60) as running:
        eventually(lambda: running.source.acknowledged == [1])
        assert not running.source.waits.wait(0.1), "the next one is not asked for"
    assert running.source.acknowledged == [1], "and a stop does not wait"


def test_a_source_that_knows_of_more_is_not_held_up() -> None:
    with Running(Lagging([1, 1]), linger=60) as running:
        assert running.source.waits.wait(5)
        assert running.source.acknowledged == [1, 2]


def test_a_source_that_failed_goes_on_behind_what_is_committed() -> None:
    class Falling(Numbers):
        def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
            yield from super().read(position, stop) if position else self.fall()

        def fall(self) -> Iterator[Batch]:
            self.read_from.append(None)
            yield Batch([Record(key="1", data={})], 1)
            raise ConnectionError("the database went away")

    with Running(Falling([1])) as running:
        eventually(lambda: running.source.acknowledged == [1, 2])
    assert running.source.read_from == [None, 1]
    assert running.step.failure is None


def test_a_source_whose_own_await_is_cancelled_goes_on() -> None:
    """It may run an event loop of its own. The thread would end, and the worker look well."""

    class Cancelled(TwoBatches):
        def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
            if not reads:
                reads.append(position)
                raise asyncio.CancelledError
            yield from super().read(position, stop)

    reads: list[Position | None] = []
    with Running(Cancelled([])) as run:
        eventually(lambda: run.producer.committed)


def test_a_source_that_cannot_be_read_is_held_and_late() -> None:
    class Away(Running):
        def build(self) -> Source:
            raise ConnectionError("away")

    with Away(Numbers([])) as running:
        eventually(lambda: running.step.held)
        eventually(lambda: running.lag() > 0)
    assert (running.step.held, running.lag()) == (False, 0)


def test_a_source_that_is_wrongly_configured_ends_the_worker() -> None:
    class Wrong(Running):
        def build(self) -> Source:
            raise ConfigurationError("no such table")

    with Wrong(Numbers([])) as running:
        eventually(lambda: isinstance(running.step.failure, ConfigurationError))
    told = running.step.status
    assert told is not None
    assert (told.state, told.error) == ("stopped", "no such table")
    assert told.late_since is not None, "what happens from then on waits"


def test_a_revocation_ends_the_wait_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_step, "FIRST_PAUSE", 60.0)
    tried = threading.Event()

    class Away(Running):
        def build(self) -> Source:
            tried.set()
            raise ConnectionError("away")

    started = time.monotonic()
    with Away(Numbers([])):
        assert tried.wait(5)
    assert time.monotonic() - started < 30


def test_nothing_is_connected_to_once_the_position_is_gone() -> None:
    asked, go_on = threading.Event(), threading.Event()
    built: list[int] = []

    class Slow(Running):
        def newest(self) -> Any:
            asked.set()
            go_on.wait(5)

        def build(self) -> Source:
            built.append(1)
            return self.source

    running = Slow(Numbers([]))
    with running:
        assert asked.wait(5)
        running.step.release()
        go_on.set()
    assert built == []


def test_a_position_that_goes_just_before_the_source_runs_is_seen() -> None:
    """The source would run, and the revocation wait for its end for ever."""

    class Revoked(threading.Event):
        def clear(self) -> None:
            running.step._owned = False
            self.set()
            super().clear()

    class Wrong(Running):
        def build(self) -> Source:
            raise ConfigurationError("it was built")

    running = Wrong(Numbers([]))
    running.step._owned, running.step._interrupt = True, Revoked()
    running.step._run()
    assert running.step.failure is None


def test_a_paused_source_is_not_read_and_goes_on_where_kafka_stands() -> None:
    source = Numbers([2])
    with Running(source) as running:
        assert source.waits.wait(5)
        running.step.pause(time.time() + 3600)
        eventually(lambda: source.closed == 1)
        eventually(lambda: running.status == "paused")
        eventually(lambda: running.lag() > 0)
        assert not running.step.held, "somebody wants it so"
        source.batches = [1]
        source.waits.clear()
        running.step.pause(0)
        assert source.waits.wait(5)
        eventually(lambda: running.status == "running")
    assert source.read_from == [None, 2]


def test_a_pause_is_nobodys_alarm_and_the_metric_tells_it_all_the_same() -> None:
    told: list[float] = []

    class Told(OutcomeListener):
        def on_lag(self, seconds: float) -> None:
            told.append(seconds)

    with Running(Numbers([1])) as running:
        running.step._outcome_listener = Told()
        running.step.pause(time.time() + 3600)
        eventually(lambda: running.lag() > 0)
    assert set(told) == {0.0}


def test_a_pause_before_the_start_holds_and_ends_by_itself() -> None:
    source = Numbers([1])
    running = Running(source)
    running.step.pause(time.time() + 0.2)
    with running:
        assert running.status == "paused"
        assert source.waits.wait(5)
    assert source.read_from == [None]


def test_a_source_that_was_reset_begins_where_it_says_itself() -> None:
    class Owner(Numbers):
        def anew(self, position: Position) -> Position | None:
            return position * 100

    class Reset(Running):
        reset = False

        def newest(self) -> Any:
            class Stored:
                def value(self) -> bytes:
                    return reset_record("db", "shop.db.positions", cast(Position, 7)).value or b""

            return Stored() if self.reset else super().newest()

    source = Owner([1])
    with Reset(source) as running:
        assert source.waits.wait(5)
        running.reset = True
        running.step.restart()
        eventually(lambda: len(source.read_from) == 2)
    assert source.read_from == [None, 700]


def test_a_source_that_has_ended_begins_again_after_a_reset() -> None:
    class Finite(Numbers):
        def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
            self.read_from.append(position)
            return iter(())

    source = Finite([])
    with Running(source) as running:
        eventually(lambda: running.status == "ended")
        running.step.restart()
        eventually(lambda: len(source.read_from) == 2)


def test_the_last_error_is_told_until_it_is_read_again() -> None:
    class Away(Numbers):
        away = True

        def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
            if self.away:
                raise SourceError("no route to host")
            return super().read(position, stop)

    source = Away([1])
    with Running(source) as running:
        eventually(lambda: running.status == "failing")
        eventually(lambda: running.step.status is not None and running.step.status.error)
        assert running.step.status is not None
        assert running.step.status.error == "SourceError: no route to host"
        source.away = False
        eventually(lambda: running.status == "running")
        eventually(lambda: running.step.status and not running.step.status.error)


def test_one_that_never_started_stops() -> None:
    asyncio.run(Running(Numbers([])).step.stop())


def test_a_right_that_is_missing_is_told_until_it_is_granted() -> None:
    """On its own transactional id, which nobody else may try: whoever does fences the source."""
    running = Running(Numbers([2]))
    forbidden = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    running.producer.failures = [forbidden]
    running.source.batches = [2, 2]
    with running:
        eventually(lambda: running.committed)
        assert running.step.forbidden == ""
    said = "source db cannot publish: this account has no right to the transactional id"
    running = Running(Numbers([2]))
    running.step._note_forbidden(KafkaException(forbidden))
    assert running.step.forbidden.startswith(said)
