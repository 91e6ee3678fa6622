"""Replays on real Kafka: what is sent, beside live traffic and over restarts."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from engine_kit import Env, Kit, Scripted, eventually, headers_of, order

from trunkline import Event, Flow
from trunkline.schemas.commerce import Order
from trunkline.streams.audit import read_audit
from trunkline.streams.control import read_control
from trunkline.streams.replay_asking import RoutedTopic, Wanted, ask, change


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


def state_of(kit: Kit, flow: Flow[Any], id: str) -> dict[str, Any]:
    state = read_control(kit.backbone, flow.control)
    counts: Counter[str] = Counter()
    for key, value in state.items():
        if key.startswith(f"replay/{id}/"):
            counts.update(value["counts"])
    return {**state[f"replay/{id}"], "sum": dict(counts)}


def replay(kit: Kit, flow: Flow[Any], **more: Any) -> str:
    """Ask for a replay of all that is routed."""
    span = RoutedTopic(kit.backbone, flow.name, topic(flow)).span(None, None)
    return ask(
        kit.backbone,
        flow.name,
        Wanted(**{"topic": topic(flow), "destination": "erp", "span": span, **more}),
    )


async def over(kit: Kit, flow: Flow[Any], id: str) -> dict[str, Any]:
    """Wait until it is over; what the control topic has of it."""
    await eventually(
        lambda: state_of(kit, flow, id)["state"] not in ("running", "paused"), "it is over"
    )
    return state_of(kit, flow, id)


async def routed(kit: Kit, flow: Flow[Any], count: int) -> None:
    ends = lambda: kit.committed(f"{flow.name}.route", topic(flow))  # noqa: E731
    await eventually(lambda: sum(max(0, e.offset) for e in ends()) >= count, f"{count} are routed")


def test_mode_state_sends_the_newest_of_each_key_to_that_destination_only(kit: Kit) -> None:
    flow = flow_of()
    kit.create(flow)
    events = [kit.event(f"k{n % 10}", f"e{n}", order(n)) for n in range(50)]

    async def run() -> tuple[str, dict[str, Any]]:
        async with kit.running(flow, "route"):
            kit.produce(topic(flow), events)
            await routed(kit, flow, 50)
            id = replay(kit, flow, why="the ERP was restored")
            return id, await over(kit, flow, id)

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
