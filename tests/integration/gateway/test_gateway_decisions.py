"""Calls in doubt, and what people decide of calls: through two gateways, by one worker."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from gateway_kit import World, order
from trunkline import admin, kafka
from trunkline.kafka.partitioner import partition_of_key
from trunkline.naming import calls
from trunkline.streams.journal.record import CallRecord
from worker_kit import eventually

pytestmark = pytest.mark.timeout(400)


def unique() -> str:
    return uuid.uuid4().hex[:12]


def in_doubt(world: World) -> tuple[str, str, str]:
    """An order of which nobody knows whether it was shipped: its id, key, and the call's path."""
    id_, key = unique(), unique()
    world.erp.breaks[id_] = "after"
    answer = world.callers[0].post("ship_order", order(id_), key=key)
    assert (answer.status_code, answer.json()["type"]) == (502, "/problems/call-in-doubt")
    assert len(world.erp.of(id_)) == 1
    path = f"/v1/calls/{answer.json()['call']}"
    for caller in (*world.callers, world.boss):
        eventually(lambda c=caller: c.get(path).json().get("state") == "in_doubt", "it is told")
    return id_, key, path


def test_what_may_have_been_done_is_not_sent_again_and_waits_for_a_person(world: World) -> None:
    id_, key, path = in_doubt(world)
    again = world.callers[1].post("ship_order", order(id_), key=key)
    assert again.json()["type"] == "/problems/call-in-doubt"
    assert "127.0.0.1" not in again.text + world.callers[0].get(path).text
    waits = world.boss.get("/v1/calls").json()
    assert path in [f"/v1/calls/{one['call']}" for one in waits["calls"]]
    assert world.callers[0].get("/v1/calls").json()["calls"] == []

    refused = world.callers[0].decide(f"{path}:resolve", {"outcome": "succeeded"})
    assert refused.status_code == 403
    said = world.boss.decide(f"{path}:resolve", {"outcome": "succeeded", "why": "I asked"})
    assert (said.status_code, said.json()["state"]) == (200, "succeeded"), said.text
    assert said.json()["why"] == "boss says that it succeeded: I asked"
    assert world.boss.decide(f"{path}:resolve", {"outcome": "repeat"}).status_code == 409
    for caller in world.callers:
        eventually(lambda c=caller: c.get(path).json()["state"] == "succeeded", "it is told")
    assert world.callers[0].post("ship_order", order(id_), key=key).status_code == 204
    assert len(world.erp.of(id_)) == 1


def test_a_call_in_doubt_is_sent_again_if_a_person_says_so(world: World) -> None:
    id_, _, path = in_doubt(world)
    assert world.boss.decide(f"{path}:resolve", {"outcome": "maybe"}).status_code == 422
    world.boss.decide(f"{path}:resolve", {"outcome": "repeat"})
    eventually(lambda: world.boss.get(path).json()["state"] == "succeeded", "it was sent again")
    assert len({seen.key for seen in world.erp.of(id_)}) == 1
    assert len(world.erp.of(id_)) == 2


@pytest.mark.parametrize(("breaks", "attempts"), [("after", 1), ("before", 1)])
def test_a_query_tells_whether_it_was_done(world: World, breaks: str, attempts: int) -> None:
    id_ = unique()
    world.erp.breaks[id_] = breaks
    answer = world.callers[0].post("pay_order", order(id_), key=unique())
    assert answer.status_code == 200, answer.text
    call = answer.headers["Trunkline-Call"]
    assert world.erp.asked.count(f"/orders/{id_}/corrections/{call}") == 1
    assert len(world.erp.of(id_)) == attempts


def test_what_the_system_surely_has_not_done_is_tried_again(world: World) -> None:
    id_ = unique()
    world.erp.answers[id_] = 429
    waiting = world.callers[0].post("ship_order", order(id_), key=unique(), prefer="wait=1")
    assert (waiting.status_code, waiting.json()["state"]) == (202, "attempting")
    del world.erp.answers[id_]
    done = world.callers[0].get(waiting.headers["Location"], prefer="wait=30").json()
    assert (done["state"], done["attempt"]) == ("succeeded", 2)


def test_a_call_that_waits_is_cancelled_and_never_run(world: World) -> None:
    id_, key = unique(), unique()
    world.erp.answers[id_] = 500
    world.feed.orders([(id_, 1)])
    eventually(lambda: world.erp.of(id_), "the event is tried")
    waiting = world.callers[0].post("correct_order", order(id_, 2), key=key, prefer="wait=0")
    path = waiting.headers["Location"]
    assert world.stranger.decide(f"{path}:cancel").status_code == 404
    done = world.callers[1].decide(f"{path}:cancel", {"why": "a mistake"})
    assert (done.status_code, done.json()["state"]) == (200, "cancelled"), done.text
    assert done.json()["why"] == "cancelled by crm: a mistake"
    assert world.callers[1].decide(f"{path}:cancel").status_code == 200, "twice is as good"
    del world.erp.answers[id_]
    last = world.callers[0].post("correct_order", order(id_, 3), key=unique())
    assert last.status_code == 200
    assert [seen.body["total_cents"] for seen in world.erp.of(id_) if seen.method == "PATCH"] == [3]
    told = world.callers[0].post("correct_order", order(id_, 2), key=key)
    assert (told.status_code, told.json()["type"]) == (409, "/problems/call-cancelled")


def test_a_call_that_is_over_is_not_cancelled_any_more(world: World) -> None:
    done = world.callers[0].post("correct_order", order(unique()), key=unique())
    late = world.callers[0].decide(f"/v1/calls/{done.headers['Trunkline-Call']}:cancel")
    assert (late.status_code, late.json()["type"]) == (409, "/problems/too-late")


def test_a_call_runs_once_somebody_else_has_approved_it(world: World) -> None:
    id_, key = unique(), unique()
    asked = world.callers[0].post("refund_order", order(id_), key=key)
    assert (asked.status_code, asked.json()["state"]) == (202, "needs_approval"), asked.text
    path = asked.headers["Location"]
    eventually(lambda: world.boss.get(path).status_code == 200, "it is known there")
    again = world.callers[1].post("refund_order", order(id_), key=key)
    assert again.json()["state"] == "needs_approval"
    assert world.callers[0].decide(f"{path}:approve").status_code == 403
    assert world.erp.of(id_) == []
    listed = [f"/v1/calls/{one['call']}" for one in world.boss.get("/v1/calls").json()["calls"]]
    assert path in listed
    assert world.boss.decide(f"{path}:approve").status_code == 200
    done = world.callers[0].get(path, prefer="wait=30").json()
    assert done["state"] == "succeeded"
    world.boss.decide(f"{path}:approve")
    assert world.callers[0].post("refund_order", order(id_), key=key).status_code == 200
    assert len(world.erp.of(id_)) == 1


def test_a_call_that_waits_for_approval_is_refused_by_cancelling_it(world: World) -> None:
    id_ = unique()
    path = world.callers[0].post("refund_order", order(id_), key=unique()).headers["Location"]
    eventually(lambda: world.boss.get(path).status_code == 200, "it is known there")
    assert world.boss.decide(f"{path}:cancel").json()["state"] == "cancelled"
    assert world.boss.decide(f"{path}:approve").status_code == 409
    assert world.erp.of(id_) == []


def test_an_accepted_call_that_the_inbox_never_had_expires(world: World) -> None:
    """Its gateway died between the two records; no caller has come again."""
    now, topic = datetime.now(UTC), calls(world.flow, "erp")
    lost = CallRecord(
        call=str(uuid.uuid4()),
        state="accepted",
        operation="correct_order",
        client="crm",
        key=unique(),
        fingerprint="f",
        accepted_at=now.timestamp(),
        expires_at=(now + timedelta(seconds=1)).timestamp(),
        at=now.timestamp(),
    )
    producer = kafka.producer(world.backbone)
    count = kafka.existing_topics(kafka.admin(world.backbone))[topic]
    number = partition_of_key(lost.key.encode(), count)
    producer.produce(topic, lost.encoded(), lost.record_key(by_gateway=True), number)
    assert producer.flush(10) == 0
    path = f"/v1/calls/{lost.call}"
    for caller in world.callers:
        eventually(lambda c=caller: c.get(path).json().get("state") == "expired", "it expired", 15)


def test_a_query_is_answered_past_whatever_waits(world: World) -> None:
    id_ = unique()
    world.erp.answers[id_] = 500
    world.feed.orders([(id_, 1)])
    eventually(lambda: world.erp.of(id_), "the event is tried")
    world.erp.answers[id_] = 200
    answer = world.callers[0].post("get_order", order(id_))
    assert (answer.status_code, set(answer.json())) == (200, {"asked"})
    missing = world.callers[1].post("get_order", order(unique()), key="one")
    assert (missing.status_code, missing.json()["system_status"]) == (404, 404)


def test_a_query_that_is_not_answered_in_time_is_never_repeated(world: World) -> None:
    id_ = unique()
    world.erp.delay = 1.5
    try:
        began = time.monotonic()
        late = world.callers[0].post("get_order", order(id_), prefer="wait=1")
        assert time.monotonic() - began < 1.5
        assert (late.status_code, late.json()["type"]) == (504, "/problems/system-timeout")
    finally:
        world.erp.delay = 0.0
    assert world.callers[0].post("get_order", order(unique())).status_code == 404
    assert sum(f"/orders/{id_}/" in path for path in world.erp.asked) == 1


def test_a_query_whose_system_refuses_us_says_nothing_of_it(world: World) -> None:
    id_ = unique()
    world.erp.answers[id_] = 401
    refused = world.callers[0].post("get_order", order(id_))
    assert (refused.status_code, "detail" in refused.json()) == (502, False)


def test_while_the_destination_is_paused_who_waits_is_told_and_who_does_not_is_queued(
    world: World,
) -> None:
    target, id_, key = admin.Target.parse(f"{world.flow}.erp"), unique(), unique()
    admin.pause_destination(world.backbone, target, why="a test")
    try:

        def unavailable() -> bool:
            refused = world.callers[0].post("correct_order", order(unique()), key=unique())
            return refused.status_code == 503 and bool(refused.headers["Retry-After"])

        eventually(unavailable, "it is told")
        asked = world.callers[0].post("get_order", order(unique()))
        assert asked.json()["type"] == "/problems/system-unavailable"
        queued = world.callers[0].post("correct_order", order(id_), key=key, prefer="respond-async")
        assert queued.status_code == 202
        joined = world.callers[0].post("correct_order", order(id_), key=key, prefer="wait=0")
        assert joined.status_code == 202
        assert world.erp.of(id_) == []
    finally:
        admin.resume_destination(world.backbone, target, why="a test")
    done = world.callers[0].get(queued.headers["Location"], prefer="wait=30").json()
    assert done["state"] == "succeeded"
    eventually(
        lambda: world.callers[0].post("correct_order", order(id_), key=unique()).status_code == 200,
        "it is told that it is up",
    )


def test_no_new_call_is_taken_while_the_backlog_is_too_old(world: World) -> None:
    """Neither of who waits nor of who does not; one that was accepted before is joined."""
    caller, first, key = world.callers[0], unique(), unique()
    assert caller.post("move_order", order(unique()), key=unique()).status_code == 200
    world.erp.delay = 4.5
    try:
        begun = caller.post("move_order", order(first), key=key, prefer="respond-async")
        assert begun.status_code == 202

        def refused(prefer: str = "") -> bool:
            told = caller.post("move_order", order(unique()), key=unique(), prefer=prefer)
            if told.status_code in (200, 202):
                return False
            assert (told.status_code, told.headers["Retry-After"]) == (503, "30")
            assert told.json()["type"] == "/problems/temporary-reduced-capacity"
            return True

        eventually(lambda: refused("respond-async"), "a new call is refused")
        assert refused(), "also of who waits"
        world.erp.delay = 0.0
        joined = caller.post("move_order", order(first), key=key)
        assert (joined.status_code, joined.headers["Idempotent-Replayed"]) == (200, "true")
        eventually(lambda: not refused(), "and taken again once the old one is done")
    finally:
        world.erp.delay = 0.0
