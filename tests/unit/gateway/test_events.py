"""What callers send becomes canonical events, or is refused with all that is wrong."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from trunkline.access.policy import Client
from trunkline.gateway.events import MOST, EventTopic, EventTopics
from trunkline.gateway.problems import Problem
from trunkline.schemas.commerce import Order
from trunkline.schemas.plain.read import PlainReader
from trunkline.schemas.types import schema_of

SCHEMA = schema_of(Order)
TOPIC = EventTopic("t", "id", SCHEMA, PlainReader(SCHEMA.parsed), orjson.dumps)
ORDER = {"id": "o-7", "status": "paid", "total_cents": "5"}


def made(given: Any) -> list[Any]:
    return TOPIC.events_of(orjson.dumps(given), "crm", "")


def test_an_event_has_the_callers_id_and_the_gateways_source() -> None:
    sent = {"id": "e-1", "data": ORDER, "type": "order.paid", "time": "2026-11-29T15:03:00+01:00"}
    ((key, value, headers),) = made(sent)
    said = {name: text.decode() for name, text in headers}
    assert (key, orjson.loads(value)) == (b"o-7", {**ORDER, "total_cents": 5})
    assert (said["ce_id"], said["ce_source"], said["ce_type"]) == (
        "e-1",
        "/gateway/crm",
        "order.paid",
    )
    assert (said["ce_time"], said["tl_change"]) == ("2026-11-29T14:03:00+00:00", "create")


def test_a_delete_has_a_key_alone_and_several_keep_their_order() -> None:
    sent = [{"id": "1", "data": ORDER}, {"id": "2", "change": "delete", "key": "o-7"}]
    first, second = made(sent)
    assert first[0] == second[0] == b"o-7"
    assert second[1] is None
    assert (b"t.delete" in dict(second[2]).values()) is True


@pytest.mark.parametrize(
    ("given", "pointers"),
    [
        (1, ["#"]),
        ([1, {"id": "1", "data": ORDER}], ["#/0"]),
        ({"data": ORDER}, ["#/id"]),
        ({"id": "a b", "data": ORDER}, ["#/id"]),
        ({"id": "1"}, ["#/data"]),
        ({"id": "1", "data": {**ORDER, "total_cents": 5}}, ["#/data/total_cents"]),
        ({"id": "1", "data": ORDER, "change": "truncate"}, ["#/change"]),
        ({"id": "1", "data": ORDER, "time": "2026-11-29T14:03:00"}, ["#/time"]),
        ({"id": "1", "data": ORDER, "key": "o-8"}, ["#/key"]),
        ({"id": "1", "data": {**ORDER, "id": ""}}, ["#/key"]),
        ({"id": "1", "data": ORDER, "more": 1, "type": ""}, ["#/more", "#/type"]),
        ({"id": "1", "change": "delete"}, ["#/key"]),
        ({"id": "1", "change": "delete", "key": "o", "data": ORDER}, ["#/data"]),
        ([{"id": "1", "data": ORDER}, {"id": "", "data": ORDER}], ["#/1/id"]),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_taken(given: Any, pointers: list[str]) -> None:
    with pytest.raises(Problem) as raised:
        made(given)
    assert (raised.value.status, [e.pointer for e in raised.value.errors]) == (422, pointers)


@pytest.mark.parametrize("many", [[], [{"id": "1", "data": ORDER}] * (MOST + 1)])
def test_none_and_too_many_are_refused(many: list[Any]) -> None:
    with pytest.raises(Problem):
        made(many)


def test_a_topic_is_for_those_who_may_publish_to_it() -> None:
    topics = EventTopics([TOPIC])
    assert topics.find("t", Client("crm", (), publish=("t*",))) is TOPIC
    for topic, status in (("t", 403), ("u", 404)):
        with pytest.raises(Problem) as raised:
            topics.find(topic, Client("crm", ("*/*",)))
        assert raised.value.status == status
