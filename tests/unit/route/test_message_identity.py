"""Two different messages never have one idempotency key, and one message always has the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import naming
from trunkline.event import Event, Record, event_headers
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.route.compiled import CompiledCall, CompiledRoute, CompiledTopic
from trunkline.streams.route.router import Router

TEXTS = st.text(min_size=1, max_size=6) | st.sampled_from(["1", "1#2", "1/2", "a", "debit"])
ROUTES = [("ledger", "debit"), ("ledger", "credit"), ("mart", "entries")]


def canonical(source: str, id: str, *, offset: int = 0, topic: str = "orders") -> StoredMessage:
    headers = event_headers(Record(key="k", data={}, id=id), source=source, type="order.paid")
    return StoredMessage(topic, 0, offset, b"k", b"{}", headers)


def routed(
    messages: Sequence[StoredMessage], parts: int = 2, call: CompiledCall | None = None
) -> list[Event[Any]]:
    """The inbox messages: ``parts`` of each event by each route."""
    routes = [
        CompiledRoute.of(
            lambda event: [event.data] * parts,
            name=name,
            inbox=f"f.{destination}.inbox",
            dlq=f"f.{destination}.dlq",
            encode=bytes,
            call=call,
        )
        for destination, name in ROUTES
    ]
    topics = {message.topic(): CompiledTopic(lambda value: value, routes) for message in messages}
    done = asyncio.run(Router(topics).route(messages))
    assert done.dead == 0
    return [in_topic(topic, value, headers) for topic, _, value, headers in done.records]


def in_topic(topic: str, value: bytes | None, headers: Any, offset: int = 0) -> Event[Any]:
    return Event(key="k", value=value, headers=headers, decode=bytes, topic=topic, offset=offset)


@given(st.sets(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.integers(1, 3))
def test_each_message_of_each_event_has_a_key_of_its_own(
    events: set[tuple[str, str]], parts: int
) -> None:
    messages = [canonical(*event, offset=n) for n, event in enumerate(sorted(events))]
    keys = [event.idempotency_key for event in routed(messages, parts)]
    assert len(set(keys)) == len(keys) == len(events) * len(ROUTES) * parts


@given(TEXTS, TEXTS, st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_message_keeps_its_key_wherever_it_is(
    source: str, id: str, offset: int, moved: int
) -> None:
    first, again = (routed([canonical(source, id, offset=at)]) for at in (offset, moved))
    for one, other in zip(first, again, strict=True):
        assert one.idempotency_key == other.idempotency_key, "published again elsewhere"
        flow, destination, _ = one.topic.split(".")
        tier = naming.tier(flow, destination, "5s")
        waiting = in_topic(tier, one.value, [*one.headers, ("tl_attempt", b"1")], moved)
        assert waiting.idempotency_key == one.idempotency_key


def test_another_route_or_destination_changes_nobody_elses_key() -> None:
    whole = {
        event.header("tl_from"): event.idempotency_key for event in routed([canonical("s", "1")])
    }
    assert len(whole) == len(ROUTES) * 2
    assert len(set(whole.values())) == len(whole)
    again = {e.header("tl_from"): e.idempotency_key for e in routed([canonical("s", "1")], parts=5)}
    assert whole.items() <= again.items()


def test_events_without_an_id_are_told_by_their_place() -> None:
    """Producers that know nothing of CloudEvents."""
    bare = [StoredMessage("orders", 0, at, b"k", b"{}", []) for at in (1, 2)]
    keys = [event.idempotency_key for event in routed(bare)]
    assert len(set(keys)) == len(keys)
    assert keys == [event.idempotency_key for event in routed(bare)]


@pytest.mark.parametrize("id", [b"", b"\xfe", b"\xff", b"7"])
def test_a_call_of_a_route_has_an_id_of_its_own(id: bytes) -> None:
    """One that had that of another event would be taken for its repeat, and never run."""
    call = CompiledCall("ship", "", "flow/f")
    headers = [("ce_id", id)] if id else []
    bare = [StoredMessage("orders", 0, at, b"k", b"{}", headers) for at in (1, 2)]
    bare.append(StoredMessage("orders", 0, 3, b"k", b"{}", [("ce_id", b"\xfd")]))
    ids = [event.id for event in routed(bare, call=call)]
    each = len(ROUTES) * 2
    assert ids == [event.id for event in routed(bare, call=call)]
    assert len(set(ids)) == (2 if id else 3) * each
    assert (ids[:each] == ids[each : 2 * each]) == bool(id)


def test_records_put_into_an_inbox_by_hand_have_keys_of_their_own() -> None:
    keys = {in_topic("f.erp.inbox", b"{}", [], offset).idempotency_key for offset in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize("ids", [[], [("ce_id", b"7")], [("ce_id", b"7"), ("ce_source", b"s")]])
def test_a_record_put_there_by_hand_keeps_its_key_through_retries(
    ids: list[tuple[str, bytes]],
) -> None:
    first = in_topic("f.erp.inbox", b"{}", ids, 40)
    for tier, at in (("5s", 3), ("1m", 9)):
        headers = [*ids, ("tl_seq", b"40"), ("tl_attempt", b"1")]
        again = in_topic(naming.tier("f", "erp", tier), b"{}", headers, at)
        assert again.idempotency_key == first.idempotency_key


def test_ids_that_are_no_utf8_are_not_taken_for_each_other() -> None:
    keys = {
        in_topic("f.erp.inbox", b"", [("ce_id", id)]).idempotency_key for id in (b"\xff", b"\xfe")
    }
    assert len(keys) == 2


def test_the_key_is_a_uuid_that_never_changes() -> None:
    """Pinned: a release that made other keys would have every repeat taken for a new message."""
    keys = [event.idempotency_key for event in routed([canonical("/f/shop", "1")], parts=1)]
    assert keys[0] == "54add465-744d-8070-a6ff-63881424868f"
