"""Events that a system sends by HTTP become canonical events, which routes get."""

from __future__ import annotations

import uuid

import httpx
import pytest

from gateway_kit import Caller, World, order
from worker_kit import eventually

pytestmark = pytest.mark.timeout(400)


def publish(world: World, events: object, caller: Caller | None = None) -> httpx.Response:
    sender = caller or world.boss
    path = f"/v1/topics/{world.feed.topic}.received/events"
    return sender.decide(path, events)


def test_events_are_routed_in_the_order_of_their_entity(world: World) -> None:
    id_ = uuid.uuid4().hex[:12]
    sent = [{"id": f"{id_}-{n}", "data": order(id_, n)} for n in range(5)]
    answer = publish(world, sent)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 5}), answer.text
    eventually(lambda: len(world.erp.of(id_)) == 5, "they are delivered")
    assert [seen.body["total_cents"] for seen in world.erp.of(id_)] == [*range(5)]


def test_a_repeated_event_is_known_by_its_id(world: World) -> None:
    """At least once, as from any source: a destination tells the repeat by the same key."""
    id_ = uuid.uuid4().hex[:12]
    for _ in range(2):
        assert publish(world, {"id": id_, "data": order(id_)}).status_code == 200
    eventually(lambda: len(world.erp.of(id_)) == 2, "they are delivered")
    assert len({seen.key for seen in world.erp.of(id_)}) == 1


def test_of_several_events_one_wrong_one_keeps_all_out(world: World) -> None:
    id_ = uuid.uuid4().hex[:12]
    wrong = publish(world, [{"id": "1", "data": order(id_)}, {"id": "2", "data": {"id": id_}}])
    assert wrong.status_code == 422
    assert {e["pointer"] for e in wrong.json()["errors"]} == {
        "#/1/data/status",
        "#/1/data/total_cents",
    }
    assert publish(world, {"id": "3", "data": order(id_, 7)}).status_code == 200
    eventually(lambda: world.erp.of(id_), "the right one is delivered")
    assert [seen.body["total_cents"] for seen in world.erp.of(id_)] == [7]


def test_the_right_is_needed_and_the_document_shows_the_topic(world: World) -> None:
    refused = publish(world, {"id": "1", "data": order("o")}, world.callers[0])
    topic = f"{world.feed.topic}.received"
    assert (refused.status_code, refused.json()["permission"]) == (403, f"publish {topic}")
    path = f"/v1/topics/{topic}/events"
    assert path in world.boss.get("/openapi.json").json()["paths"]
    assert path not in world.callers[0].get("/openapi.json").json()["paths"]
    assert world.boss.decide("/v1/topics/none/events", {}).status_code == 404
