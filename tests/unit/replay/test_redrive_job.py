"""Re-drives and discards: each letter once, none after a newer event of its key, whatever is routed
and whoever dies in between."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_replay_state import EVENTS, happening

from replay_world import CONTROL, DLQ, INBOX, PARTITION, TOPIC, World
from trunkline.event import Event
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.control.records import HandledKey
from trunkline.streams.dlq.handled import Handled, owner_of
from trunkline.streams.dlq.letters import DeadLetterFilter
from trunkline.streams.replay.rate_limit import RateLimit
from trunkline.streams.replay.redrive_job import RedriveJob
from trunkline.streams.replay.request import Request

MARKS = HandledKey("erp", PARTITION).text


def world_of(past: list[tuple[bytes, str]], **more: Any) -> World:
    world = World(more.pop("next_event", lambda: 0), **more)
    for key, kind in past:
        world.publish(key, kind)
        world.route()
    return world


def bury(world: World, offset: int, *, stage: str = "deliver", **headers: str) -> None:
    """A dead letter of the canonical event at ``offset``."""
    event, log = world.logs[TOPIC][offset], world.logs[DLQ]
    place = f"{TOPIC}/0/{offset}"
    origin = {"tl_from": f"{place}/1", "tl_dead_from": f"{INBOX}/3/{40 + offset}"}
    if stage == "route":
        origin = {"tl_dead_from": place}
    told = {"tl_stage": stage, "tl_error_class": "Rejected", **origin, **headers}
    named = (*event.headers(), *((name, text.encode()) for name, text in told.items()))
    log.append(StoredMessage(DLQ, 0, len(log), event.key(), event.value(), named))


def job_of(world: World, *, max_keys: int = 500, **more: Any) -> RedriveJob:
    given = {"id": "r", "kind": "redrive", "destination": "erp", **more}
    ranges = {(DLQ, 0): range(len(world.logs[DLQ]))}
    request = Request(**{"ranges": ranges, **given})
    return RedriveJob(
        request,
        PARTITION,
        world.context,
        RateLimit(lambda: None),
        world.path,
        owner_of=partial(owner_of, topics=[TOPIC]),
        max_keys=max_keys,
    )


def redriven(world: World) -> list[str]:
    return [sent.id for sent in world.inbox if sent.origin == "redrive"]


def handled(world: World) -> list[int]:
    marks = Handled.from_record(world.durable.get(MARKS))
    return [offset for offset in range(len(world.logs[DLQ])) if marks.has(0, offset)]


@settings(max_examples=150, deadline=None)
@given(st.data(), EVENTS, EVENTS, st.integers(1, 3), st.sampled_from([(), ("paid",)]))
def test_each_letter_once_and_none_after_a_newer_event(
    data: st.DataObject,
    past: list[tuple[bytes, str]],
    coming: list[tuple[bytes, str]],
    window: int,
    only: tuple[str, ...],
) -> None:
    world = world_of(past, next_event=lambda: 0, only=only, coming=coming)
    world.next_event = happening(data)
    routed = [sent.offset for sent in world.inbox]
    dead = [offset for offset in routed if data.draw(st.booleans())]
    for offset in dead:
        bury(world, offset)
    before = len(world.inbox)
    asyncio.run(world.finish(lambda: job_of(world, max_keys=window)))
    newest: dict[bytes, int] = {}
    for sent in world.inbox:
        if sent.origin == "original":
            newest[sent.key] = sent.offset
        else:
            assert sent.offset == newest[sent.key], f"{sent} came after a newer one"
    sent_again = redriven(world)
    assert len(set(sent_again)) == len(sent_again), "a letter was sent twice"
    assert handled(world) == list(range(len(dead))), "what is superseded is handled, too"
    last = {sent.key: sent.offset for sent in world.inbox[:before]}
    untouched = {key: at for key, at in last.items() if world.newest(key) == at}
    assert set(untouched.values()) & set(dead) <= {int(id[1:]) for id in sent_again}


def run(world: World, **more: Any) -> dict[str, int]:
    """One request after the other; what was counted."""
    world.job = None
    for key in [key for key in world.durable if key.startswith("replay/")]:
        del world.durable[key]
    asyncio.run(world.finish(lambda: job_of(world, **more)))
    assert world.job is not None
    return dict(world.job.progress.counts)


@pytest.fixture
def world() -> World:
    """Five events of four keys; 1 and 4 are of one key; all but 3 died."""
    world = world_of([(key, "paid") for key in (b"a", b"b", b"c", b"d", b"b")])
    for offset in (0, 1, 2, 4):
        bury(world, offset)
    return world


def test_a_letter_is_sent_as_it_was(world: World) -> None:
    assert run(world) == {"sent": 3, "superseded": 1}
    assert redriven(world) == ["e0", "e2", "e4"]
    assert handled(world) == [0, 1, 2, 3]
    assert run(world) == {}, "what is handled is not sent again"
    assert run(world, force=True) == {"sent": 4}
    assert redriven(world)[3:] == ["e0", "e1", "e2", "e4"]


def test_a_sink_that_appends_gets_every_letter(world: World) -> None:
    world.appends = True
    assert run(world) == {"sent": 4}
    assert redriven(world) == ["e0", "e1", "e2", "e4"]


def test_discarded_letters_are_handled_and_not_sent(world: World) -> None:
    assert run(world, kind="discard") == {"discarded": 4}
    assert redriven(world) == []
    assert world.durable[MARKS] == {"handled": {"0": {"prefix": 4, "runs": []}}}


def test_only_what_is_selected_and_in_the_set(world: World) -> None:
    assert run(world, selection=DeadLetterFilter(key="c")) == {"sent": 1}
    assert redriven(world) == ["e2"]
    assert run(world, ranges={(DLQ, 0): range(1)}) == {"sent": 1}
    assert redriven(world) == ["e2", "e0"]
    assert handled(world) == [0, 2]


def test_letters_of_other_partitions_are_left_to_their_routers(world: World) -> None:
    log = world.logs[DLQ]
    elsewhere = (("tl_stage", b"deliver"), ("tl_from", b"orders/1/7/1"))
    log.append(StoredMessage(DLQ, 0, len(log), b"z", b"{}", elsewhere))
    assert run(world) == {"sent": 3, "superseded": 1}


def test_what_a_route_refused_goes_through_todays_route() -> None:
    world = world_of([(b"a", "paid")])
    world.inbox.clear()
    bury(world, 0, stage="route", tl_attempt="2")
    assert run(world) == {"sent": 1}
    (sent,) = world.inbox
    assert (sent.key, sent.offset, sent.origin, sent.id) == (b"a", 0, "redrive", "e0")


@pytest.mark.parametrize(
    ("kind", "action", "count"),
    [("redrive", "retry", "released"), ("discard", "discard", "discarded")],
)
def test_a_halted_keys_first_event_is_released_where_it_waits(
    kind: str, action: str, count: str
) -> None:
    world = world_of([(b"a", "paid"), (b"a", "paid")])
    bury(world, 0, tl_halted="1", tl_seq="40", tl_attempt="4")
    assert run(world, kind=kind) == {count: 1}
    assert redriven(world) == []
    assert world.durable["release/erp/3/40/4"] == {"action": action}
    assert handled(world) == [0]


def test_headers_of_death_are_gone() -> None:
    world = world_of([(b"a", "paid")])
    bury(world, 0, tl_attempt="3", tl_seq="9", tl_traceback="…", tl_error="no")
    written: list[Any] = []
    write = world.write

    async def spy(records: Any, at: Any, epoch: int) -> None:
        written.extend(records)
        await write(records, at, epoch)

    world.write = spy  # type: ignore[method-assign]
    run(world)
    (headers,) = [dict(headers) for topic, _, _, headers in written if topic == INBOX]
    assert set(headers) == {"ce_id", "ce_type", "tl_from", "tl_origin", "tl_replay_id"}
    progress = [orjson.loads(value) for topic, _, value, _ in written if topic == CONTROL]
    assert progress[-1] == {"next": None, "counts": {"sent": 1}, "done": True}


@pytest.mark.parametrize("stood", ["by a route", "by hand", "by hand, in a tier"])
@pytest.mark.parametrize("ids", [[], [("ce_id", b"7")]])
def test_what_is_sent_again_has_its_idempotency_key_again(
    stood: str, ids: list[tuple[str, bytes]]
) -> None:
    """Its producer may write no ids, or no headers at all: then it is told by its place, which is
    another one now."""
    world = world_of([(b"a", "paid")])
    made = [("tl_from", f"{TOPIC}/0/0/r/1".encode())] if stood == "by a route" else []
    tier = stood.endswith("tier")
    died_in, at = ("f.erp.retry.5s", 2) if tier else (INBOX, 40)
    headers = [*ids, *made, ("tl_seq", b"40")] if tier else [*ids, *made]
    before = Event("a", b"{}", headers, bytes, died_in, 3, at)
    died = [("tl_stage", b"deliver"), ("tl_dead_from", f"{died_in}/3/{at}".encode())]
    log = world.logs[DLQ]
    log.append(StoredMessage(DLQ, 0, 0, b"a", b"{}", [*headers, *died]))
    written: list[Any] = []
    write = world.write

    async def spy(records: Any, at: Any, epoch: int) -> None:
        written.extend(records)
        await write([record for record in records if record.topic != INBOX], at, epoch)

    world.write = spy  # type: ignore[method-assign]
    assert run(world) == {"sent": 1}
    (again,) = [headers for topic, _, _, headers in written if topic == INBOX]
    after = Event("a", b"{}", again, bytes, INBOX, 3, 99)
    assert after.idempotency_key == before.idempotency_key


def test_a_message_under_another_key_is_superseded_by_its_events_key() -> None:
    """The route made ``pick-b`` of ``b``: what is newer of ``b`` makes the letter needless."""
    world = world_of([(key, "paid") for key in (b"a", b"b", b"b")])
    for offset, key in ((0, "a"), (1, "b")):
        bury(world, offset, tl_event_key=key)
    letters = world.logs[DLQ]
    for n, letter in enumerate(letters):
        headers = letter.headers()
        letters[n] = StoredMessage(DLQ, 0, n, b"pick-" + letter.key(), letter.value(), headers)
    assert run(world) == {"sent": 1, "superseded": 1}
    assert [(sent.key, sent.id) for sent in world.inbox if sent.origin == "redrive"] == [
        (b"pick-a", "e0")
    ]
