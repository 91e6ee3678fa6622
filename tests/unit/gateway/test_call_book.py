"""What a gateway knows of calls, in whatever order it reads of them."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from trunkline.gateway.book import CallBook
from trunkline.streams.journal.journal import KEPT
from trunkline.streams.journal.record import CallRecord, CallState

NOW = 1_800_000_000.0


def record(state: CallState, call: str = "c", **more: Any) -> CallRecord:
    fields: dict[str, Any] = {
        "operation": "correct",
        "client": "crm",
        "key": "o",
        "fingerprint": "f",
        "accepted_at": NOW,
        "expires_at": NOW + 60,
        "at": NOW,
        **more,
    }
    return CallRecord(call=call, state=state, **fields)


ACCEPTED = (record("accepted"), True)
ATTEMPTING = (record("attempting", attempt=1), False)
SUCCEEDED = (record("succeeded"), False)


@pytest.mark.parametrize("order", list(itertools.permutations([ACCEPTED, ATTEMPTING, SUCCEEDED])))
def test_the_end_counts_in_whatever_order_it_is_read(
    order: tuple[tuple[CallRecord, bool], ...],
) -> None:
    book = CallBook(lambda: NOW)
    for one, by_gateway in order:
        book.apply("t", one, by_gateway=by_gateway)
    found = book.get("c")
    assert found is not None
    assert found.state == "succeeded"
    assert book.is_taken_up("c")


def test_the_first_gateways_word_stays() -> None:
    book = CallBook(lambda: NOW)
    book.apply("t", record("accepted", fingerprint="one"), by_gateway=True)
    book.apply("t", record("accepted", fingerprint="two"), by_gateway=True)
    found = book.get("c")
    assert found is not None
    assert found.fingerprint == "one"
    assert not book.is_taken_up("c")


def test_a_dead_call_that_was_sent_again_has_its_new_end() -> None:
    book = CallBook(lambda: NOW)
    for state in ("dead", "attempting", "succeeded"):
        book.apply("t", record(state), by_gateway=False)  # type: ignore[arg-type]
        assert book.get("c").state in ("dead", "succeeded")  # type: ignore[union-attr]
    assert book.get("c").state == "succeeded"  # type: ignore[union-attr]


def test_calls_are_forgotten_after_a_day() -> None:
    now = NOW
    book = CallBook(lambda: now)
    book.apply("t", record("succeeded", "old"), by_gateway=False)
    now += KEPT + 1
    book.apply("t", record("succeeded", "new", at=now), by_gateway=False)
    assert (book.get("old"), len(book)) == (None, 1)


def test_all_who_wait_are_told_when_it_is_over() -> None:
    async def run() -> list[CallRecord | None]:
        book = CallBook(lambda: NOW)
        waiting = [asyncio.create_task(book.wait_over("c", 30)) for _ in range(3)]
        for one, by_gateway in (ACCEPTED, ATTEMPTING):
            await asyncio.sleep(0)
            book.apply("t", one, by_gateway=by_gateway)
            assert not any(task.done() for task in waiting)
        await asyncio.sleep(0)
        book.apply("t", SUCCEEDED[0], by_gateway=False)
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(run()) == [SUCCEEDED[0]] * 3


def test_who_waits_is_answered_when_the_gateway_stops_and_when_the_time_is_over() -> None:
    async def run() -> None:
        book = CallBook(lambda: NOW)
        assert await book.wait_over("c", 0.01) is None
        book.apply("t", ATTEMPTING[0], by_gateway=False)
        waiting = asyncio.create_task(book.wait_over("c", 30))
        await asyncio.sleep(0)
        book.close()
        found = await asyncio.wait_for(waiting, 5)
        assert found is not None
        assert found.state == "attempting"

    asyncio.run(run())


def test_a_gateway_that_starts_reads_calls_of_more_than_a_day() -> None:
    """Kafka deletes whole segments: the first record may be too old, and the next ones count."""
    book = CallBook(lambda: NOW)
    for number in range(3):
        old = record("succeeded", f"old-{number}", at=NOW - KEPT - 1)
        book.apply("t", old, by_gateway=False)
    book.apply("t", record("succeeded", "new"), by_gateway=False)
    assert len(book) == 1
    assert book.get("new") is not None
    assert (book.get("old-0"), book.topic_of("old-0")) == (None, "")


def test_of_answers_the_newest_are_held_and_of_calls_all() -> None:
    book = CallBook(lambda: NOW, replies=100, recent=0)
    for number in range(10):
        for reply in (None, "x" * 30):  # the second one replaces the first
            one = record("succeeded", f"{number}", reply=reply)
            book.apply("t", one, by_gateway=False)
    found = [book.get(f"{number}") for number in range(10)]
    assert [one.state for one in found if one] == ["succeeded"] * 10
    assert [bool(one.reply) for one in found if one] == [False] * 7 + [True] * 3
    assert "not held" in found[0].why  # type: ignore[union-attr]
    book.apply("t", record("succeeded", "9", reply="y" * 40), by_gateway=False)
    assert book.get("7").reply, "a replaced answer is counted once"  # type: ignore[union-attr]


@pytest.mark.parametrize("recent", [0, 5, 100_000])
def test_a_call_is_the_same_in_memory_and_on_disk(recent: int) -> None:
    book = CallBook(lambda: NOW, recent=recent)
    every = [
        record("succeeded", f"c{n}", reply='{"n": "ü"}', status=200, key="ä") for n in range(450)
    ]
    for one in every:
        book.apply(f"t{one.call[-1]}", replace(one, state="accepted"), by_gateway=True)
    assert not book.is_taken_up("c7")
    for one in every:
        book.apply(f"t{one.call[-1]}", one, by_gateway=False)
    assert [book.get(one.call) for one in every] == every
    assert [book.topic_of(one.call) for one in every] == [f"t{one.call[-1]}" for one in every]
    assert all(book.is_taken_up(one.call) for one in every)
    assert len(book) == 450
    book.apply("t", record("needs_approval", "c3"), by_gateway=True)
    assert book.get("c3") == every[3], "a gateway's word comes after a worker's, from disk too"


def test_what_waits_for_a_person_is_found_on_disk_and_forgotten_with_its_day() -> None:
    now = NOW
    book = CallBook(lambda: now, recent=0)
    book.apply("t", record("in_doubt", "asks"), by_gateway=False)
    assert [(one.call, topic) for one, topic in book.for_person()] == [("asks", "t")]
    now += KEPT + 1
    for number in range(1_000):
        book.apply("t", record("succeeded", f"{number}", at=now), by_gateway=False)
    assert (book.for_person(), len(book), book._for_person) == ([], 1_000, {})


def test_calls_on_disk_are_forgotten_after_a_day_with_their_answers() -> None:
    now = NOW
    book = CallBook(lambda: now, recent=0)
    for number in range(1_500):
        book.apply("t", record("succeeded", f"old-{number}", reply="{}"), by_gateway=False)
    now += KEPT + 1
    assert book.get("old-1499") is None
    for number in range(2_000):
        book.apply("t", record("succeeded", f"new-{number}", at=now), by_gateway=False)
    assert len(book) == 2_000
    assert book._shelf._held == 0
    book.apply("t", record("succeeded", "old-3", reply="[]", at=now), by_gateway=False)
    assert book.get("old-3").reply == "[]"  # type: ignore[union-attr]


def test_an_old_call_behind_a_new_one_is_forgotten_too() -> None:
    """A key that is used again after a day is a new call, whichever gateway is asked of it."""
    now = NOW
    book = CallBook(lambda: now)
    book.apply("t", record("succeeded", "new", at=NOW + KEPT), by_gateway=False)
    book.apply("t", record("succeeded", "old"), by_gateway=False)
    now += KEPT + 1
    assert (book.get("old"), book.is_taken_up("old")) == (None, False)
    book.apply("t", record("accepted", "old", at=now), by_gateway=True)
    assert book.get("old") is not None
    assert book.get("old").state == "accepted"  # type: ignore[union-attr]
    assert len(book) == 2
