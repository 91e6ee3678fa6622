"""The dead-letter limit of a source: what trips it is not published, until a person has looked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from test_push_step import Acknowledging, Caller, records, run

from source_step_kit import Numbers, Running, eventually
from trunkline import Flow, Params
from trunkline.connectors.base import Batch
from trunkline.errors import ConfigurationError, DataError, SourceError
from trunkline.event import Record
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.publish.letter_limit import LetterLimit
from trunkline.streams.publish.publisher import PublishingResult

LIMIT = DeadLetterLimit(share=0.5, window="1m", minimum=4)


def result(dead: int, good: int) -> PublishingResult:
    made = PublishingResult("dlq")
    made.records = [("t", b"k", b"", [])] * (dead + good)  # type: ignore[list-item]
    for _ in range(dead):
        made.refuse(DataError("no total"))
    return made


def test_it_trips_at_more_than_the_share_of_enough() -> None:
    limit = LetterLimit(LIMIT, lambda: 0.0)
    assert limit.trips(result(dead=3, good=0)) == "", "fewer than the minimum"
    assert limit.trips(result(dead=0, good=3)) == "", "half is not more than half"
    assert "more than 50% of what came within 1m cannot be mapped: no total" in limit.trips(
        result(dead=1, good=0)
    )
    assert limit.reason


def test_what_is_long_ago_does_not_count() -> None:
    now = 0.0
    limit = LetterLimit(LIMIT, lambda: now)
    assert limit.trips(result(dead=3, good=0)) == ""
    now = 120.0
    assert limit.trips(result(dead=3, good=0)) == ""


def test_a_reset_lets_what_tripped_it_pass_and_counts_anew() -> None:
    limit = LetterLimit(LIMIT, lambda: 0.0)
    limit.reset()  # nothing has tripped: nothing is let pass
    assert limit.trips(result(dead=9, good=0))
    limit.reset()
    assert limit.reason == ""
    assert limit.trips(result(dead=9, good=0)) == ""
    assert limit.trips(result(dead=9, good=0))


def test_without_a_policy_it_never_trips() -> None:
    assert LetterLimit(None).trips(result(dead=1000, good=0)) == ""


class Bad(Numbers):
    """Gives batches of five records until it is stopped; each batch from the stored position."""

    def __init__(self) -> None:
        super().__init__([])

    def read(self, position: Any, stop: Any) -> Iterator[Batch]:
        at = int(position or 0)
        while not stop.is_set():
            at += 5
            records = [Record(key=str(n), data={"n": n}) for n in range(at - 5, at)]
            yield Batch(records, at, current=True)
            stop.wait(0.005)


def fails_from_ten(record: Record) -> Any:
    if record.data["n"] >= 10:
        raise DataError("it has no total")
    return record.data


def test_the_source_stops_before_the_batch_and_goes_on_behind_it_when_resumed() -> None:
    with Running(Bad(), function=fails_from_ten, limit=LIMIT) as running:
        eventually(lambda: running.status == "dead-letter-limit")
        published = len(running.committed)
        assert published == 4, "ten good ones and ten dead letters: half is not more than half"
        time.sleep(0.05)
        assert len(running.committed) == published, "nobody has looked"
        status = running.step.status
        assert status is not None
        assert "it has no total" in status.error
        assert running.step.held
        running.step.allow()
        eventually(lambda: len(running.committed) == published + 1)
        eventually(lambda: running.status == "dead-letter-limit")


def test_a_source_that_is_called_answers_its_callers_to_send_again() -> None:
    producer = Acknowledging()

    async def scene(caller: Caller) -> None:
        for _ in range(2):
            with pytest.raises(SourceError, match="cannot be mapped: odd"):
                await caller.publish(records(*["odd"] * 5))
        with pytest.raises(SourceError, match="trunkline source resume"):
            await caller.publish(records("good"))
        assert producer.topics == []

    run(producer, scene, LIMIT)


def test_what_is_no_limit_is_refused() -> None:
    flow = Flow("shop", Params)
    with pytest.raises(ConfigurationError, match="dead_letter_limit=5 is none"):
        flow.source(dead_letter_limit=5)(lambda env: None)  # type: ignore[call-overload]
