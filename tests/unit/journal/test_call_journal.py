"""How calls stand: what is written when, what counts as over, and what others may write there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal_kit import NOW, Clock, call, event, journal, told
from trunkline.connectors.base import HttpReply
from trunkline.errors import Rejected, Retryable, Unavailable
from trunkline.headers import TL_ATTEMPT, TL_ERROR, TL_HALTED
from trunkline.kafka import PartitionRecord
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.journal.journal import KEPT, MAX_REPLY, CallJournal
from trunkline.streams.journal.record import (
    call_of,
    moment_of,
    parsed_call,
)


def test_an_answer_is_written_with_the_calls_completion_and_word_for_word() -> None:
    calls, one = journal(), call()
    calls.answered(one, HttpReply(201, b'{"n": 1.10}'))
    (record,) = calls.finished([one])
    assert (record.topic, record.partition, record.key) == ("shop.erp.calls", 3, b"c1")
    found = told(record)
    assert (found.state, found.status, found.reply) == ("succeeded", 201, '{"n": 1.10}')
    assert (found.client, found.operation, found.key) == ("crm", "correct", "o-7")
    assert (found.accepted_at, found.expires_at, found.attempt) == (NOW, NOW + 60, 1)
    assert calls.is_over(one)
    assert calls.finished([one]) == [], "once"


@pytest.mark.parametrize(
    ("body", "reply", "why"),
    [
        (b"", None, ""),
        (b" \n", None, ""),
        (b"plain", '"plain"', "no JSON"),
        (b"\xff", '"\\ufffd"', "no JSON"),
        (b'"' + b"x" * MAX_REPLY + b'"', None, "not kept"),
    ],
)
def test_an_answer_that_is_no_json_or_too_long(body: bytes, reply: str | None, why: str) -> None:
    calls, one = journal(), call()
    calls.answered(one, HttpReply(200, body))
    found = told(calls.finished([one])[0])
    assert found.state == "succeeded"
    assert found.reply in (reply, '"�"')
    assert why in found.why


def test_events_that_are_no_calls_are_none() -> None:
    calls, one = journal(), event()
    assert not calls.is_call(one)
    assert calls.finished([one]) == []
    assert calls.dead(one, Rejected("x"), 1) == calls.discarded(one) == ()
    assert calls.waiting(one, NOW, {}) == ()
    assert not calls.is_refusal(one, Rejected("x", status=422))


@pytest.mark.parametrize(
    ("failure", "refusal"),
    [
        (Rejected("no", status=422), True),
        (Rejected("no", status=404), True),
        (Rejected("no", status=401), False),
        (Rejected("no", status=403), False),
        (Rejected("a redirect", status=302), False),
        (Rejected("a defect"), False),
        (Retryable("no", status=429), False),
        (Unavailable("no", status=503), False),
    ],
)
def test_only_the_systems_own_no_is_a_refusal(failure: Exception, refusal: bool) -> None:
    assert journal().is_refusal(call(), failure) is refusal


def test_a_repeat_of_a_call_that_is_over_writes_nothing() -> None:
    calls, one = journal(), call()
    told(calls.refused(one, Rejected("qty", status=422), 1))
    again = call()
    assert calls.is_over(again)
    assert calls.finished([again]) == []


def test_a_dead_call_that_is_sent_again_by_an_operator_is_no_repeat() -> None:
    calls = journal()
    (record,) = calls.dead(call(), Retryable("500", status=500), 3)
    assert (told(record).state, told(record).attempt) == ("dead", 3)
    assert calls.is_over(call())
    assert not calls.is_over(call(tl_origin="redrive", tl_replay_id="r"))
    assert not calls.is_over(call(tl_origin="retry", tl_replay_id="r")), "nor its retries"


def test_what_waits_says_why() -> None:
    calls = journal()
    behind = told(calls.waiting(call(), NOW + 5, {})[0])
    assert (behind.state, behind.attempt, behind.due_at) == ("accepted", 0, NOW + 5)
    assert behind.why == "it waits behind an earlier event of the same entity"
    named = told(calls.waiting(call(), NOW + 5, {}, "event e1, whose attempt 2 failed")[0])
    assert named.why == "it waits behind event e1, whose attempt 2 failed"
    failed = told(calls.waiting(call(), NOW + 5, {TL_ATTEMPT: "2", TL_ERROR: "answered 500"})[0])
    assert (failed.state, failed.attempt, failed.why) == ("attempting", 2, "answered 500")
    halted = {TL_ATTEMPT: "3", TL_ERROR: "answered 500", TL_HALTED: "1"}
    found = told(calls.waiting(call(), NOW + 5, halted)[0])
    assert "a person" in found.why
    assert found.due_at == 0
    assert not calls.is_over(call())


def message(record: PartitionRecord) -> Any:
    return StoredMessage(record.topic, record.partition, 0, record.key, record.value)


def test_a_worker_begins_with_what_the_topic_says() -> None:
    first, second = journal(), journal()
    done, waits = call("done"), call("waits")
    first.answered(done, HttpReply(200, b""))
    records = [*first.finished([done]), *first.waiting(waits, NOW, {})]
    accepted = call_of(call("accepted"), "accepted", NOW)
    by_gateway = accepted.record_key(by_gateway=True)
    second.begin(
        [
            *map(message, records),
            StoredMessage("t", 0, 0, by_gateway, accepted.encoded()),
            StoredMessage("t", 0, 0, b"x", b"no JSON"),
            StoredMessage("t", 0, 0, b"done", None),
        ]
    )
    assert second.is_over(done)
    assert not second.is_over(waits)
    assert not second.is_over(call("accepted"))
    second.begin([])
    assert not second.is_over(done), "another assignment, other calls"


def test_a_gateway_cannot_end_a_call() -> None:
    """A final state under a gateway's key is a mistake, and must not keep the call from running."""
    calls, one = journal(), call()
    forged = replace(call_of(one, "succeeded", NOW), at=NOW)
    key = forged.record_key(by_gateway=True)
    calls.begin([StoredMessage("t", 0, 0, key, forged.encoded())])
    assert not calls.is_over(one)


def test_calls_are_forgotten_with_the_topic() -> None:
    clock = Clock()
    calls = CallJournal("t", clock)
    calls.refused(call("old"), Rejected("x"), 1)
    clock.now += KEPT + 1
    calls.refused(call("new"), Rejected("x"), 1)
    assert not calls.is_over(call("old", tl_accepted_at=moment_of(clock.now)))
    assert calls.is_over(call("new"))


@given(st.binary(max_size=200) | st.none(), st.binary(max_size=20) | st.none())
def test_whatever_stands_in_the_topic_ends_nobody(value: bytes | None, key: bytes | None) -> None:
    assert parsed_call(key, value) is None


@pytest.mark.parametrize(
    "change",
    [
        b'"state":"lost"',
        b'"state":1',
        b'"state":["dead"]',
        b'"state":"dead","at":"now"',
        b'"state":"dead","client":{}',
        b'"more":1,"state":"dead"',
    ],
)
def test_a_record_of_another_form_is_none(change: bytes) -> None:
    sound = call_of(call(), "dead", NOW).encoded()
    assert parsed_call(b"c1", sound) is not None
    changed = sound.removesuffix(b"}") + b"," + change + b"}"  # the last of two counts
    assert parsed_call(b"c1", changed) is None
    assert parsed_call(b"c2", sound) is None


def test_a_repeat_that_waits_leaves_the_answer_in_the_topic() -> None:
    """A call is done, a second record of it stands in the inbox, behind an event that fails. In the
    compacted topic a record of that would be all that is left: no answer, and run once more."""
    calls, one = journal(), call()
    calls.answered(one, HttpReply(200, b"1"))
    done = calls.finished([one])
    more = [*calls.waiting(call(), NOW, {}), *calls.discarded(call())]
    more += calls.dead(call(), Rejected("x"), 1)
    newest = {record.key: record for record in [*done, *more]}
    next_worker = journal()
    next_worker.begin(map(message, newest.values()))
    assert next_worker.is_over(call())
    assert more == []


def test_what_a_gateway_has_forgotten_is_a_new_call() -> None:
    """It forgets a call a day after its end. A worker that still knew it would skip the new one,
    and nobody would ever tell of it."""
    calls = journal()
    calls.refused(call(), Rejected("x"), 1)
    assert calls.is_over(call(tl_accepted_at=moment_of(NOW + KEPT)))
    assert not calls.is_over(call(tl_accepted_at=moment_of(NOW + KEPT + 0.1)))
    assert calls.is_over(call(tl_accepted_at="")), "whoever wrote it has no say"


def test_two_requests_under_one_key_are_told_their_own_answers() -> None:
    calls, one, two = journal(), call(tl_fingerprint="1"), call(tl_fingerprint="2")
    two.offset = 8
    calls.answered(one, HttpReply(200, b'"one"'))
    calls.answered(two, HttpReply(200, b'"two"'))
    found = [told(record) for record in calls.finished([one, two])]
    assert [(one.fingerprint, one.reply) for one in found] == [("1", '"one"'), ("2", '"two"')]
