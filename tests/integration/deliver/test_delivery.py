"""Delivery on real Kafka, to a user's own sink: each error is an instruction, and nothing is lost
or out of order."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from engine_kit import Kit, Scripted, delivering, eventually, headers_of, order
from trunkline import CircuitBreaker, Event, Flow, Rejected, Retry, Retryable, Unavailable
from trunkline.errors import PartialFailure
from trunkline.schemas.commerce import Order


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


def inbox(flow: Flow[Any]) -> str:
    return flow.destinations[0].inbox


def dlq(flow: Flow[Any]) -> str:
    return flow.destinations[0].dlq


def deliver(
    kit: Kit, sink: Scripted, events: list[Any], until: int | Callable[[], bool], **policy: Any
) -> Flow[Any]:
    """Run a worker until the sink has so many events, or until then; everything is committed."""
    over = until if callable(until) else lambda: len(sink.delivered) >= until
    flow = delivering(sink, **policy)
    kit.create(flow)
    kit.produce(inbox(flow), events)

    async def run() -> None:
        async with kit.running(flow, "deliver") as worker:
            await eventually(lambda: worker.done() or over(), f"{until} delivered")

    asyncio.run(run())
    return flow


def orders(kit: Kit, count: int, keys: int) -> list[Any]:
    """Events whose id is ``<key>-<number>``, the numbers growing per key."""
    return [kit.event(f"k{n % keys}", f"k{n % keys}-{n:05}", order(n)) for n in range(count)]


def is_in_order(sink: Scripted, count: int) -> bool:
    """Whether each event is delivered, and what stays of those of a key came in their order."""
    last = list(dict.fromkeys(reversed(sink.ids)))[::-1]
    by_key = defaultdict(list)
    for id in last:
        by_key[id.split("-")[0]].append(id)
    return len(last) == count and all(ids == sorted(ids) for ids in by_key.values())


def assert_in_order(sink: Scripted, count: int) -> None:
    """As ``is_in_order``."""
    assert is_in_order(sink, count)


def test_an_event_arrives_as_it_was_sent(kit: Kit) -> None:
    sink = Scripted()
    deliver(kit, sink, [kit.event("k1", "id-1", order(7))], 1)
    (event,) = sink.delivered
    assert (event.key, event.id, event.type) == ("k1", "id-1", "order.paid")
    assert event.data == order(7)
    assert sink.closed


def test_a_restart_delivers_nothing_twice(kit: Kit) -> None:
    first, second = Scripted(), Scripted()
    flow = delivering(first, second)
    kit.create(flow)

    async def run(sink: Scripted, ids: list[str]) -> None:
        kit.produce(inbox(flow), [kit.event(id, id) for id in ids])
        async with kit.running(flow, "deliver"):
            await eventually(lambda: len(sink.delivered) >= len(ids), "delivered")

    asyncio.run(run(first, ["a", "b", "c"]))
    asyncio.run(run(second, ["d", "e"]))
    assert sorted(first.ids) == ["a", "b", "c"]
    assert sorted(second.ids) == ["d", "e"]


@pytest.mark.parametrize(("max_batch", "concurrency"), [(1, 8), (50, 1), (20, 8)])
def test_each_key_stays_in_order_side_by_side_and_through_failures(
    kit: Kit, max_batch: int, concurrency: int
) -> None:
    def now_and_then(event: Event[Order], attempt: int) -> Exception | None:
        number = int(event.data["id"])
        if attempt == 1 and number % 7 == 0:
            return Retryable("later")
        return Unavailable("down") if attempt == 1 and number % 41 == 0 else None

    sink = Scripted(now_and_then, max_batch=max_batch, concurrency=concurrency)
    deliver(kit, sink, orders(kit, 300, keys=10), lambda: is_in_order(sink, 300))
    if max_batch == 1:  # in a batch, what is behind a failed one of its key is repeated
        assert len(sink.ids) == 300


def test_one_call_has_at_most_max_batch(kit: Kit) -> None:
    sink = Scripted(max_batch=7)
    deliver(kit, sink, orders(kit, 100, keys=3), 100)
    assert max(map(len, sink.attempts)) == 7


def test_others_of_a_batch_are_delivered_and_only_the_failed_again(kit: Kit) -> None:
    def fail_two(event: Event[Order], attempt: int) -> Exception | None:
        return Retryable("not yet") if event.key in ("b", "d") and attempt == 1 else None

    sink = Scripted(fail_two, max_batch=10)
    deliver(kit, sink, [kit.event(key, key) for key in "abcde"], 5)
    assert sorted(sink.ids) == ["a", "b", "c", "d", "e"]
    tried = [id for call in sink.attempts for id in call]
    assert {id: tried.count(id) for id in "abcde"} == {"a": 1, "b": 2, "c": 1, "d": 2, "e": 1}


def test_followers_of_a_failed_one_in_its_batch_come_again_behind_it(kit: Kit) -> None:
    """The sink has applied the follower already; it must be applied last all the same."""

    class Applying(Scripted):
        async def deliver(self, events: Any) -> None:
            self.attempts.append([event.id for event in events])
            if len(self.attempts) == 1:
                raise PartialFailure({0: Retryable("not yet")})
            self.delivered += events

    sink = Applying(max_batch=10)
    events = [kit.event("k", id) for id in ("1", "2", "3")]
    deliver(kit, sink, events, lambda: sink.ids[-3:] == ["1", "2", "3"])
    assert sink.attempts[0] == ["1", "2", "3"]


def test_a_failure_that_names_nobody_of_the_batch_loses_nothing(kit: Kit) -> None:
    class Confused(Scripted):
        async def deliver(self, events: Any) -> None:
            self.attempts.append([event.id for event in events])
            if len(self.attempts) == 1:
                raise PartialFailure({-1: Rejected("the last one")})
            self.delivered += events

    sink = Confused(max_batch=10)
    flow = deliver(kit, sink, [kit.event("k", id) for id in ("1", "2")], 2)
    assert sink.ids == ["1", "2"]
    assert kit.read(dlq(flow)) == []


def test_rejected_ends_in_the_dlq_with_its_bytes_and_reason(kit: Kit) -> None:
    def reject(event: Event[Order], attempt: int) -> Exception | None:
        return Rejected("no such customer") if event.id == "bad" else None

    bad = kit.event("k1", "bad", order(13))
    flow = deliver(kit, Scripted(reject), [bad, kit.event("k1", "good")], 1)
    (dead,) = kit.read(dlq(flow))
    key, value, headers = bad
    assert (dead.key(), dead.value()) == (key, value)
    got = headers_of(dead)
    assert {name: text.encode() for name, text in got.items()}.items() >= dict(headers).items()
    assert got["tl_error_class"] == "Rejected"
    assert got["tl_error"] == "no such customer"
    assert got["tl_stage"] == "deliver"
    assert got["tl_dead_from"].startswith(f"{inbox(flow)}/")
    assert got["tl_traceback"].endswith("Rejected: no such customer\n")


def test_a_dead_letter_and_its_offset_are_one(kit: Kit) -> None:
    sink = Scripted(lambda event, attempt: Rejected("never") if event.id != "good" else None)
    flow = deliver(kit, sink, [kit.event("k", id) for id in ("1", "2", "good")], 1)
    assert [headers_of(dead)["ce_id"] for dead in kit.read(dlq(flow))] == ["1", "2"]
    ends = kit.committed(f"{flow.name}.erp", inbox(flow))
    assert sorted(end.offset for end in ends) == [-1001, 3]


def test_retryable_holds_its_key_and_no_other(kit: Kit) -> None:
    """``stuck`` fails until all the others are through, and its follower waits behind it."""
    sink = Scripted(lambda event, attempt: None)

    def stubborn(event: Event[Order], attempt: int) -> Exception | None:
        passed = len(sink.delivered) >= 20
        return None if passed or event.id != "stuck" else Retryable("still locked")

    sink._answer = stubborn
    events = [kit.event("k", "stuck"), kit.event("k", "follower")]
    events += [kit.event(f"o{n}", f"o{n}") for n in range(20)]
    flow = deliver(kit, sink, events, 22)
    assert sink.ids[-2:] == ["stuck", "follower"]
    assert kit.read(dlq(flow)) == []


def test_retry_after_is_the_least_that_is_waited(kit: Kit) -> None:
    sink = Scripted(lambda event, attempt: Retryable(after=0.4) if attempt == 1 else None)
    deliver(kit, sink, [kit.event("k", "1")], 1)
    first, second = sink.at
    assert second - first >= 0.4


def test_delays_grow_by_the_policy(kit: Kit) -> None:
    sink = Scripted(lambda event, attempt: Retryable() if attempt <= 3 else None)
    deliver(kit, sink, [kit.event("k", "1")], 1, retry=Retry("10ms", "50ms", "200ms"))
    waited = [later - earlier for earlier, later in pairwise(sink.at)]
    assert all(real >= asked for real, asked in zip(waited, [0.01, 0.05, 0.2], strict=True))


@pytest.mark.parametrize("after", [None, 0.3])
def test_while_it_is_down_one_probe_at_a_time_is_sent(kit: Kit, after: float | None) -> None:
    """Four deliveries side by side; down for the first six calls."""
    sink = Scripted(concurrency=4)

    def down(event: Event[Order], attempt: int) -> Exception | None:
        return Unavailable("connection refused", after=after) if len(sink.at) <= 6 else None

    sink._answer = down
    breaker = CircuitBreaker(failures=1, open="100ms", longest="1s")
    deliver(kit, sink, [kit.event(f"k{n}", f"{n}") for n in range(12)], 12, breaker=breaker)
    assert_in_order(sink, 12)
    storm, probes = sink.at[:4], sink.at[4:7]
    waited = [later - earlier for earlier, later in pairwise([storm[0], *probes])]
    assert all(pause >= (after or 0.1) for pause in waited)


def test_what_nobody_foresaw_is_repeated_and_logged(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Scripted(lambda event, attempt: ZeroDivisionError("oops") if attempt == 1 else None)
    with caplog.at_level(logging.INFO):
        deliver(kit, sink, [kit.event("k", "1")], 1)
    (line,) = [r for r in caplog.records if "unforeseen" in r.message]
    assert line.levelname == "ERROR"
    assert line.exc_info is not None
    assert isinstance(line.exc_info[1], ZeroDivisionError)
    assert line.event_id == "1"  # type: ignore[attr-defined]
    assert line.trace_id == sink.delivered[0].trace_id  # type: ignore[attr-defined]


def test_without_order_a_failed_one_holds_up_nobody_of_its_key(kit: Kit) -> None:
    sink = Scripted(lambda event, attempt: None)

    def last(event: Event[Order], attempt: int) -> Exception | None:
        return Retryable("wait") if event.id == "1" and len(sink.delivered) < 4 else None

    sink._answer = last
    deliver(kit, sink, [kit.event("k", str(n)) for n in range(1, 6)], 5, order="none")
    assert sink.ids[-1] == "1"
    assert sorted(sink.ids) == ["1", "2", "3", "4", "5"]


def test_deletes_reach_only_a_sink_that_accepts_them(kit: Kit) -> None:
    refusing, accepting = Scripted(), Scripted(deletes=True)
    events = [kit.delete("k", "gone"), kit.event("k", "next")]
    flow = deliver(kit, refusing, events, 1)
    assert refusing.ids == ["next"]
    (dead,) = kit.read(dlq(flow))
    assert (dead.key(), dead.value()) == (b"k", None)
    assert "accepts no deletes" in headers_of(dead)["tl_error"]
    deliver(kit, accepting, events, 2)
    assert accepting.ids == ["gone", "next"]


def test_a_sink_that_cannot_be_opened_yet_is_opened_later(kit: Kit) -> None:
    class Late(Scripted):
        opened = 0

        async def open(self) -> None:
            self.opened += 1
            if self.opened < 3:
                raise Unavailable("the system starts")

    sink = Late()
    deliver(kit, sink, [kit.event("k", "1")], 1)
    assert sink.opened == 3


def test_a_worker_stops_while_its_sink_cannot_be_opened(kit: Kit) -> None:
    class Never(Scripted):
        opened = 0

        async def open(self) -> None:
            self.opened += 1
            raise Unavailable("the system is gone")

    sink = Never()
    flow = delivering(sink)

    async def run() -> None:
        async with kit.running(flow, "deliver"):
            await eventually(lambda: sink.opened > 1, "tried again")

    asyncio.run(run())
    assert sink.closed


def test_what_waits_when_a_worker_stops_is_delivered_by_the_next(kit: Kit) -> None:
    """One key waits for its retry: the worker stops all the same, and its successor begins there,
    without what was delivered beyond it."""
    first = Scripted(lambda event, attempt: Retryable() if event.key == "k" else None)
    second = Scripted()
    flow = delivering(first, second)
    kit.create(flow)
    events = [kit.event("k", "1"), kit.event("k", "2"), kit.event("j", "3"), kit.event("j", "4")]
    kit.produce(inbox(flow), events)

    async def run(sink: Scripted) -> None:
        async with kit.running(flow, "deliver"):
            await eventually(lambda: len(sink.delivered) >= 2, "two delivered")

    asyncio.run(run(first))
    asyncio.run(run(second))
    assert first.ids == ["3", "4"]
    assert second.ids == ["1", "2"]
