"""Replays on real Kafka: what is sent, beside live traffic and over restarts."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Message

from engine_kit import Answer, Env, Kit, Scripted, eventually, headers_of, order
from trunkline import Event, Flow, Rejected, Retry
from trunkline.admin.audit import read_audit
from trunkline.admin.replay_scope import ReplayScope
from trunkline.admin.replays import cancel_request, continue_request, pause_request, submit_request
from trunkline.schemas.commerce import Order
from trunkline.streams.control.kafka_topic import KafkaControl, read_control
from trunkline.streams.dlq.handled import HandledLetters
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.dlq.queue import DeadLetterQueue
from trunkline.streams.replay.request import Request, RequestKind


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


class Appending(Scripted):
    """A sink that keeps every event."""

    appends = True


def flow_of(sink: Scripted | None = None) -> Flow[Env]:
    """One topic to two destinations; the ERP does not take what is new."""
    flow = Flow(f"replay-{uuid.uuid4().hex[:8]}", Env)
    orders = flow.existing_topic(f"{flow.name}.orders", Order)

    @flow.destination
    def erp(env: Env) -> Scripted:
        return sink or Scripted(deletes=True)

    @flow.destination
    def crm(env: Env) -> Scripted:
        return Scripted()

    @flow.route(orders, to=erp)
    def to_erp(event: Event[Order]) -> Order | None:
        return None if event.data["status"] == "new" else event.data

    @flow.route(orders, to=crm)
    def to_crm(event: Event[Order]) -> Order:
        return event.data

    return flow


def topic(flow: Flow[Any]) -> str:
    return flow.topics[0].topic


def ids(kit: Kit, flow: Flow[Any], origin: str = "replay") -> list[str]:
    """The event ids of what was sent to the ERP with this origin, partition by partition."""
    told = [headers_of(message) for message in kit.read(f"{flow.name}.erp.inbox")]
    return [headers["ce_id"] for headers in told if headers["tl_origin"] == origin]


@asynccontextmanager
async def running(kit: Kit, flow: Flow[Any], *roles: str) -> AsyncIterator[KafkaControl]:
    """A worker, which routes unless other roles are given, and what the control topic has."""
    watched = KafkaControl(kit.backbone, flow.control)
    async with kit.running(flow, *(roles or ("route",))):
        await watched.start()
        try:
            yield watched
        finally:
            await watched.stop()


def state_of(control: KafkaControl, id: str) -> dict[str, Any]:
    """The request, and the sums of what its partitions have counted."""
    counts: Counter[str] = Counter()
    for key, value in control.state.items():
        if key.startswith(f"replay/{id}/"):
            counts.update(value["counts"])
    return {"state": "running", **control.state.get(f"replay/{id}", {}), "sum": dict(counts)}


def replay(kit: Kit, flow: Flow[Any], **more: Any) -> str:
    """Ask for a replay of all that is routed."""
    ranges = ReplayScope(kit.backbone, flow.name, topic(flow)).ranges(None, None)
    given = {"kind": "replay", "destination": "erp", "ranges": ranges, **more}
    return submit_request(kit.backbone, flow.name, Request(**given)).id


async def over(control: KafkaControl, id: str) -> dict[str, Any]:
    """Wait until it is over; what the control topic has of it."""
    states = ("running", "paused")
    await eventually(lambda: state_of(control, id)["state"] not in states, "it is over")
    return state_of(control, id)


async def routed(kit: Kit, flow: Flow[Any], count: int) -> None:
    """Wait until so many events are routed."""
    ends = partial(kit.committed, f"{flow.name}.route", topic(flow))
    await eventually(
        lambda: sum(max(0, e.offset) for e in ends()) >= count, f"{count} are routed", asks=True
    )


def test_mode_state_sends_the_newest_of_each_key_to_that_destination_only(kit: Kit) -> None:
    flow = flow_of()
    kit.create(flow)
    events = [kit.event(f"k{n % 10}", f"e{n}", order(n)) for n in range(50)]

    async def run() -> tuple[str, dict[str, Any]]:
        async with running(kit, flow) as control:
            kit.produce(topic(flow), events)
            await routed(kit, flow, 50)
            id = replay(kit, flow, why="the ERP was restored")
            return id, await over(control, id)

    id, state = asyncio.run(run())
    assert sorted(ids(kit, flow)) == sorted(f"e{n}" for n in range(40, 50))
    assert state["state"] == "done"
    assert state["sum"] == state["counts"] == {"sent": 10, "superseded": 40}
    assert len(kit.read(f"{flow.name}.crm.inbox")) == 50
    sent = [m for m in map(headers_of, kit.read(f"{flow.name}.erp.inbox")) if "tl_replay_id" in m]
    assert {headers["tl_replay_id"] for headers in sent} == {id}
    assert all(headers["tl_from"].startswith(f"{topic(flow)}/") for headers in sent)
    told = [(one.what, one.count, one.why) for one in read_audit(kit.backbone, flow.name)]
    why = "the ERP was restored"
    assert told == [("replay", None, why), ("replay done", 10, why)]
    ends = kit.committed(f"{flow.name}.route", topic(flow))
    assert sum(end.offset for end in ends) == 50, "the live offsets are as they were"


def test_a_replay_under_live_traffic_of_the_same_keys_survives_a_restart(kit: Kit) -> None:
    flow = flow_of()
    kit.create(flow)
    past = [kit.event(f"k{n % 200}", f"e{n}", order(n)) for n in range(2000)]
    live = [kit.event(f"k{n % 200}", f"live{n}", order(n)) for n in range(100)]

    async def run() -> dict[str, Any]:
        async with running(kit, flow) as control:
            kit.produce(topic(flow), past)
            await routed(kit, flow, 2000)
            id = replay(kit, flow, rate=80.0)
            await eventually(lambda: "sent" in state_of(control, id)["sum"], "it sends")
            kit.produce(topic(flow), live[:50])
        kit.produce(topic(flow), live[50:])
        async with running(kit, flow) as control:
            return await over(control, id)

    state = asyncio.run(run())
    place = {f"e{n}": n for n in range(2000)} | {f"live{n}": 2000 + n for n in range(100)}
    newest: dict[bytes | None, int] = {}
    for message in kit.read(f"{flow.name}.erp.inbox"):
        at = place[headers_of(message)["ce_id"]]
        assert at >= newest.get(message.key(), -1), f"{message.key()!r} went back"
        newest[message.key()] = at
    again = Counter(ids(kit, flow))
    assert max(again.values()) == 1, "no chunk was sent twice"
    assert set(again) >= {f"e{n}" for n in range(1900, 2000)}, "keys that nobody touched"
    assert state["sum"]["sent"] == len(again)
    assert state["sum"]["sent"] + state["sum"]["superseded"] == 2000


def test_mode_events_sends_everything_in_order_to_a_sink_that_appends(kit: Kit) -> None:
    flow = flow_of(Appending(deletes=True))
    kit.create(flow)
    events = [kit.event("k", f"e{n}", order(n)) for n in range(450)]
    new = kit.event("k", "new", order(9, status="new"))

    async def run() -> dict[str, Any]:
        async with running(kit, flow) as control:
            kit.produce(topic(flow), [*events, new, kit.delete("k", "gone")])
            await routed(kit, flow, 452)
            return await over(control, replay(kit, flow, mode="events"))

    state = asyncio.run(run())
    assert ids(kit, flow) == [*(f"e{n}" for n in range(450)), "gone"]
    assert state["sum"] == {"sent": 451, "skipped": 1}


def test_mode_events_is_refused_for_a_sink_that_overwrites(kit: Kit) -> None:
    flow = flow_of()
    kit.create(flow)

    async def run() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        async with running(kit, flow) as control:
            kit.produce(topic(flow), [kit.event("k", "e0"), kit.event("k", "e1")])
            await routed(kit, flow, 2)
            refused = await over(control, replay(kit, flow, mode="events"))
            unknown = await over(control, replay(kit, flow, destination="nobody"))
            forced = await over(control, replay(kit, flow, mode="events", force=True))
            return refused, unknown, forced

    refused, unknown, forced = asyncio.run(run())
    assert refused["state"] == unknown["state"] == "refused"
    assert "appends=True" in refused["reason"]
    assert "no destination 'nobody'" in unknown["reason"]
    assert (forced["state"], ids(kit, flow)) == ("done", ["e0", "e1"])


def test_a_replay_is_paused_continued_and_cancelled(kit: Kit) -> None:
    flow = flow_of()
    kit.create(flow)

    async def run() -> list[dict[str, Any]]:
        seen = []
        async with running(kit, flow) as control:
            kit.produce(topic(flow), [kit.event(f"k{n}", f"e{n}") for n in range(300)])
            await routed(kit, flow, 300)
            id = replay(kit, flow, rate=40.0)
            await eventually(lambda: "sent" in state_of(control, id)["sum"], "it sends")
            pause_request(kit.backbone, flow.name, id, why="lunch")
            await asyncio.sleep(0.5)  # what is under way ends
            held = len(ids(kit, flow))
            await asyncio.sleep(0.7)
            seen.append(state_of(control, id))
            assert len(ids(kit, flow)) == held < 300
            continue_request(kit.backbone, flow.name, id)
            await eventually(lambda: len(ids(kit, flow)) > held, "it goes on", asks=True)
            cancel_request(kit.backbone, flow.name, id, why="not needed")
            await asyncio.sleep(0.5)
            seen.append(state_of(control, id))
        return seen

    paused, cancelled = asyncio.run(run())
    assert (paused["state"], cancelled["state"]) == ("paused", "cancelled")
    sent = ids(kit, flow)
    assert len(set(sent)) == len(sent) == cancelled["sum"]["sent"] < 300
    told = [one.what for one in read_audit(kit.backbone, flow.name)]
    assert told == ["replay", "replay pause", "replay continue", "replay cancel"]


def test_key_where_and_range_say_what_is_sent(kit: Kit) -> None:
    flow = flow_of()
    kit.create(flow)
    events = [kit.event(f"k{n}", f"e{n}", order(n)) for n in range(20)]

    async def run() -> list[dict[str, Any]]:
        async with running(kit, flow) as control:
            kit.produce(topic(flow), events)
            await routed(kit, flow, 20)
            asked: list[dict[str, Any]] = [
                {"key": "k3"},
                {"where": "int(data.id) >= 18"},
                {"where": "data.nothing == 1"},
                {"ranges": ReplayScope(kit.backbone, flow.name, topic(flow)).ranges(10**9, None)},
            ]
            return [await over(control, replay(kit, flow, **one)) for one in asked]

    key, where, unclear, empty = asyncio.run(run())
    assert key["sum"] == {"sent": 1}
    assert where["sum"] == {"sent": 2, "skipped": 18}
    assert unclear["sum"] == {"skipped": 20}
    assert (empty["state"], empty["sum"]) == ("done", {})
    assert sorted(ids(kit, flow)) == ["e18", "e19", "e3"]


def test_dead_letters_are_redriven_once(kit: Kit) -> None:
    """Letters of both stages, one of them overtaken by a newer event; a second re-drive finds
    nothing left, a forced one takes them all."""
    broken = {"on": True}
    flow = breaking(broken)
    kit.create(flow)
    refused = [kit.event(f"k{n}", f"e{n}", order(n)) for n in range(6)]
    unroutable = kit.event("r", "unroutable", order(7, status="broken"))

    async def run() -> list[dict[str, int]]:
        async with running(kit, flow, "route", "deliver") as control:
            kit.produce(topic(flow), [*refused, unroutable])
            await eventually(lambda: len(dead(kit, flow)) == 7, "seven are dead", asks=True)
            broken["on"] = False
            kit.produce(topic(flow), [kit.event("k0", "newer", order(0))])
            await routed(kit, flow, 8)
            return [
                await redriven(kit, flow, control, force=force) for force in (False, False, True)
            ]

    first, second, forced = asyncio.run(run())
    assert first == {"sent": 6, "superseded": 1}
    assert second == {}, "what was superseded is handled"
    assert forced == {"sent": 7}
    again = Counter(ids(kit, flow, "redrive"))
    assert again == {"e0": 1, "unroutable": 2, **{f"e{n}": 2 for n in range(1, 6)}}
    control = read_control(kit.backbone, flow.control)
    handled = HandledLetters(control, "erp")
    assert all(handled.has(DeadLetter.of(message)) for message in dead(kit, flow))


def test_a_halted_key_goes_on_when_its_first_event_is_redriven_or_discarded(
    kit: Kit,
) -> None:
    broken = {"on": True}
    sink = Scripted(rejecting(broken))
    flow = breaking(broken, sink, on_dead="halt", retry=Retry("100ms"))
    kit.create(flow)

    async def run() -> tuple[dict[str, int], dict[str, int]]:
        async with running(kit, flow, "route", "deliver") as control:
            first = [kit.event("k", "first"), kit.event("k", "second", order(2, status="fine"))]
            kit.produce(topic(flow), first)
            await eventually(lambda: len(dead(kit, flow)) == 1, "the key is halted", asks=True)
            discarded = await redriven(kit, flow, control, kind="discard")
            await eventually(lambda: sink.ids == ["second"], "the key goes on")
            kit.produce(topic(flow), [kit.event("k", "third"), kit.event("k", "fourth")])
            await eventually(
                lambda: len(dead(kit, flow)) == 2, "the key is halted again", asks=True
            )
            broken["on"] = False
            released = await redriven(kit, flow, control)
            await eventually(lambda: len(sink.ids) == 3, "the key goes on again")
            return discarded, released

    assert asyncio.run(run()) == ({"discarded": 1}, {"released": 1})
    assert sink.ids == ["second", "third", "fourth"]


def rejecting(broken: dict[str, bool]) -> Answer:
    """Rejects everything but what is fine, while it is on."""

    def answer(event: Event[Order], attempt: int) -> Exception | None:
        bad = broken["on"] and event.data["status"] != "fine"
        return Rejected("unknown customer") if bad else None

    return answer


def breaking(broken: dict[str, bool], sink: Scripted | None = None, **policy: Any) -> Flow[Env]:
    """A flow whose ERP rejects everything, and whose route raises for some, while it is on."""

    flow = Flow(f"redrive-{uuid.uuid4().hex[:8]}", Env)
    orders = flow.existing_topic(f"{flow.name}.orders", Order)

    @flow.destination(**policy)
    def erp(env: Env) -> Scripted:
        return sink or Scripted(rejecting(broken))

    @flow.route(orders, to=erp)
    def to_erp(event: Event[Order]) -> Order:
        if broken["on"] and event.data["status"] == "broken":
            raise ValueError("cannot be routed")
        return event.data

    return flow


def dead(kit: Kit, flow: Flow[Any]) -> list[Message]:
    return kit.read(f"{flow.name}.erp.dlq")


async def redriven(
    kit: Kit,
    flow: Flow[Any],
    control: KafkaControl,
    *,
    kind: RequestKind = "redrive",
    force: bool = False,
) -> dict[str, int]:
    """Ask for everything in the queue as it is now; what was counted."""
    dlq = f"{flow.name}.erp.dlq"
    queue = DeadLetterQueue(kit.backbone, dlq, HandledLetters({}, "erp"))
    request = Request(kind=kind, destination="erp", ranges=queue.ranges, force=force)
    done = await over(control, submit_request(kit.backbone, flow.name, request).id)
    assert done["state"] == "done"
    counts: dict[str, int] = done["counts"]
    return counts
