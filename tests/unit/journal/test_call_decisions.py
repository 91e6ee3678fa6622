"""What gateways write beside the inbox: what expires, what people decide, what is in doubt."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import replace
from typing import Any

import pytest

from journal_kit import NOW, Clock, call, told
from trunkline.connectors.base import HttpReply
from trunkline.errors import Retryable
from trunkline.event import Event
from trunkline.headers import TL_ATTEMPT, TL_ERROR
from trunkline.kafka import PartitionRecord
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.journal.doubt import InDoubt
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.journal.record import CallRecord, call_of, parsed_call, parsed_decision


class Writer:
    """Takes what the journal writes apart from events."""

    def __init__(self) -> None:
        self.told: list[CallRecord] = []

    def tell(self, inbox: int, record: PartitionRecord) -> None:
        assert inbox == record.partition
        self.told.append(told(record))

    async def written(self, event: Event[Any], record: PartitionRecord) -> None:
        self.tell(event.partition, record)


def followed() -> tuple[CallJournal, Writer, Clock]:
    clock, writer = Clock(), Writer()
    calls = CallJournal("shop.erp.calls", clock)
    calls.writer = writer
    calls.begin([])
    return calls, writer, clock


def by_gateway(id_: str = "c1", state: Any = "accepted") -> tuple[int, bytes, bytes]:
    record = call_of(call(id_), state, NOW)
    return 3, record.record_key(by_gateway=True), record.encoded()


def decision(state: Any, id_: str = "c1", at: float = NOW) -> tuple[int, bytes, bytes]:
    record = replace(call_of(call(id_), state, at), why="crm wants it")
    return 3, record.decision_key(), record.encoded()


@pytest.mark.parametrize("state", ["accepted", "needs_approval"])
def test_what_nobody_has_taken_up_expires(state: Any) -> None:
    calls, writer, clock = followed()
    calls.heard([by_gateway(state=state)])
    clock.now += 59.9
    calls.heard([])
    assert writer.told == []
    clock.now += 0.1
    calls.heard([])
    assert [(one.call, one.state) for one in writer.told] == [("c1", "expired")]
    assert calls.is_over(call()), "its record in the inbox comes too late"
    calls.heard([by_gateway()])
    assert len(writer.told) == 1


def test_what_a_worker_has_taken_up_does_not_expire_so() -> None:
    calls, writer, clock = followed()
    calls.heard([by_gateway("waits"), by_gateway("tried"), by_gateway("done")])
    calls.waiting(call("waits"), NOW, {})
    calls.begun(call("tried"))
    calls.answered(call("done"), HttpReply(200, b"1"))
    calls.finished([call("done")])
    clock.now += 100
    calls.heard([by_gateway("done")])
    assert writer.told == []


def test_a_worker_begins_with_what_waits_and_what_was_decided_meanwhile() -> None:
    calls, writer, _ = followed()
    stored = [
        StoredMessage("t", partition, offset, key, value)
        for offset, (partition, key, value) in enumerate(
            [by_gateway("a"), decision("cancelled", "a"), by_gateway("b")]
        )
    ]
    assert calls.begin(stored) == {3: 3}
    calls.heard([])
    assert [(one.call, one.state) for one in writer.told] == [("a", "cancelled")]
    calls.heard([])
    assert len(writer.told) == 1


def test_a_cancel_ends_what_is_not_under_way() -> None:
    calls, writer, _ = followed()
    calls.heard([decision("cancelled")])
    assert [(one.state, one.why) for one in writer.told] == [("cancelled", "crm wants it")]
    assert calls.is_over(call())
    assert calls.is_over(call(tl_replay_id="r")), "nor does an operator send it"


def test_a_cancel_leaves_the_attempt_that_is_under_way_and_ends_what_follows() -> None:
    calls, writer, _ = followed()
    one = call()
    calls.begun(one)
    calls.heard([decision("cancelled")])
    calls.attempt_over(one)
    assert writer.told == []
    calls.waiting(one, NOW, {TL_ATTEMPT: "1", TL_ERROR: "500"})
    assert calls.cancelled(one)
    (record,) = calls.finished([one])
    assert (told(record).state, told(record).why) == ("cancelled", "crm wants it")


def test_a_cancel_that_comes_after_the_answer_changes_nothing() -> None:
    calls, writer, _ = followed()
    calls.answered(call(), HttpReply(200, b"1"))
    calls.finished([call()])
    calls.heard([decision("cancelled"), decision("succeeded")])
    assert writer.told == []


def test_only_a_call_in_doubt_is_resolved_and_once() -> None:
    calls, writer, _ = followed()
    calls.heard([decision("succeeded")])
    assert writer.told == [], "nobody asked"
    asyncio.run(calls.write_unsure(call()))
    assert [one.unsure for one in writer.told] == [True]
    (record,) = calls.dead(call(), InDoubt("no answer"), 1)
    assert told(record).state == "in_doubt"
    assert told(record).request is None, "it has no value"
    calls.heard([decision("dead", at=NOW), decision("succeeded", at=NOW)])
    assert [one.state for one in writer.told[1:]] == ["dead"]


def test_what_was_begun_and_not_answered_is_unsure_for_the_next_worker() -> None:
    first, writer, _ = followed()
    asyncio.run(first.write_unsure(call("open")))
    asyncio.run(first.write_unsure(call("done")))
    first.answered(call("done"), HttpReply(200, b"1"))
    records = [*writer.told, *map(told, first.finished([call("done")]))]
    second, _, _ = followed()
    second.begin(StoredMessage("t", 3, 0, one.record_key(), one.encoded()) for one in records)
    assert second.is_unsure(call("open"))
    assert not second.is_unsure(call("done"))


def test_a_call_in_doubt_keeps_its_request_for_whoever_sends_it_again() -> None:
    calls, _, _ = followed()
    one = call()
    one.value = b"abc"
    (record,) = calls.dead(one, InDoubt("no answer"), 1)
    assert base64.b64decode(told(record).request or "") == b"abc"
    assert not calls.is_over(call(tl_replay_id="r"))


@pytest.mark.parametrize(
    "text",
    [
        "PUT http://10.0.0.7:8443/orders/1 answered 500: no",
        "PUT https://erp.internal/orders/1: Cannot connect to host erp.internal:443 ssl:default",
    ],
)
def test_a_caller_is_not_told_where_the_system_is(text: str) -> None:
    calls, _, _ = followed()
    (record,) = calls.dead(call(), Retryable(text), 1)
    assert told(record).why.startswith("PUT erp/orders/1")
    assert "internal" not in told(record).why
    assert "10.0.0.7" not in told(record).why


@pytest.mark.parametrize(
    "text",
    [
        'connection to server at "db.internal" (10.0.0.7), port 5432 failed: Connection refused',
        'could not translate host name "db.internal" to address: Name or service not known',
        'Is the server running on host "db.internal" (10.0.0.7) and accepting connections?',
        'server at "db.internal": FATAL: password authentication failed for user "app-login"',
        "2003: Can't connect to MySQL server on 'db.internal' ([Errno 111] Connection refused)",
        "1045: Access denied for user app-login@10.0.0.7 (using password: YES)",
    ],
)
def test_nor_where_a_database_is_and_as_whom_we_come(text: str) -> None:
    calls, _, _ = followed()
    (record,) = calls.dead(call(), Retryable(text), 1)
    assert " erp" in told(record).why
    assert not re.search(r"internal|10\.0\.0\.7|app-login", told(record).why)


def test_a_decision_of_another_form_is_none() -> None:
    _, key, value = decision("cancelled")
    assert parsed_decision(key, value) is not None
    assert parsed_decision(b"c1", value) is None
    assert parsed_decision(b"c2/decision", value) is None
    assert parsed_decision(key, call_of(call(), "accepted", NOW).encoded()) is None
    assert parsed_call(key, value) is None
    assert parsed_decision(b"\xff/decision", value) is None
