"""Calls of a day that are over, on disk: which are known, and which are forgotten."""

from __future__ import annotations

import tracemalloc

from journal_kit import NOW, call
from trunkline.connectors.base import HttpReply
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.journal.journal import KEPT, CallJournal
from trunkline.streams.journal.over import FORGETS_EVERY, OverCalls
from trunkline.streams.journal.record import call_of


def test_a_call_is_known_by_its_newest_end() -> None:
    over = OverCalls(KEPT)
    assert (over.get("a"), "a" in over, len(over)) == (None, False, 0)
    over.put_all([("a", NOW, "dead"), ("b", NOW, "succeeded")])
    over.put("a", NOW + 1.25, "succeeded")
    assert over.get("a") == (NOW + 1.25, "succeeded")
    assert (len(over), "b" in over, "c" in over) == (2, True, False)


def test_what_is_older_than_a_day_is_forgotten_and_more_of_it_than_comes() -> None:
    over = OverCalls(KEPT)
    over.put_all((f"old-{n}", NOW, "succeeded") for n in range(3 * FORGETS_EVERY))
    over.put("old-0", NOW + 10, "succeeded")  # is one of the newest now
    for number in range(3 * FORGETS_EVERY):
        over.put(f"new-{number}", NOW + KEPT + 1, "succeeded")
    assert len(over) == 3 * FORGETS_EVERY + 1
    assert ("old-0" in over, "old-1" in over, "new-7" in over) == (True, False, True)


def test_a_worker_that_begins_has_no_memory_for_the_calls_of_a_day() -> None:
    """As a gateway accepts them and workers end them, one after the other."""

    def told(count: int) -> list[StoredMessage]:
        found = []
        for number in range(count):
            one = call(f"c-{number}")
            for state, by_gateway in (("accepted", True), ("succeeded", False)):
                record = call_of(one, state, NOW)  # type: ignore[arg-type]
                key = record.record_key(by_gateway=by_gateway)
                found.append(StoredMessage("t", 0, len(found), key, record.encoded()))
        return found

    many = told(20_000)
    calls = CallJournal("t", lambda: NOW)
    tracemalloc.start()
    calls.begin(iter(many))
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert calls.is_over(call("c-0"))
    assert calls.is_over(call("c-19999"))
    assert not calls.is_over(call("c-20000"))
    assert held < 300_000, "of calls alone it would be 6 MB"
    assert most < 3_000_000


def test_what_was_accepted_again_after_its_end_is_not_waited_for() -> None:
    calls, done = CallJournal("t", lambda: NOW), call("done")
    first = CallJournal("t", lambda: NOW)
    first.answered(done, HttpReply(200, b""))
    (record,) = first.finished([done])
    late = call_of(done, "accepted", NOW)
    calls.begin(
        [
            StoredMessage("t", 0, 0, record.key, record.value),
            StoredMessage("t", 0, 1, late.record_key(by_gateway=True), late.encoded()),
        ]
    )
    assert list(calls._unanswered.expired(NOW + KEPT)) == []
    assert calls.is_over(done)
