"""What the scaler makes of a real Kafka: the cases in which a scaler by lag is wrong."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from engine_kit import Kit, Scripted, delivering, eventually, order
from trunkline import Flow, Rejected, Retry, Retryable, admin, kafka, naming
from trunkline.scaler.cluster import GroupOffsets, committed_ranges
from trunkline.scaler.demand import Calendar, Demand, Facts, demand
from trunkline.scaler.reader import ClusterReader, Found
from trunkline.scaler.steps import StepKey, steps_of
from trunkline.streams.deliver.offsets import encode_completed
from worker_kit import eventually as until

LEAD = 15.0
HOURLY = Retry("1h")


@pytest.fixture
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    with closing(Kit(bootstrap, registry_url)) as made:
        yield made


class Looking:
    """A scaler's reader, and what its steps ask for."""

    def __init__(self, kit: Kit, flow: Flow[Any]) -> None:
        self.reader = ClusterReader(kit.backbone, steps_of(flow))
        self._flow = flow.name

    def found(self, step: str) -> Found:
        key = StepKey(self._flow, step, "erp" if step == "deliver" else "")
        return self.reader.look(time.time())[key]

    def facts(self, step: str) -> Facts:
        """Partitions that were made a moment ago may have no leader yet, or a broker that has just
        started may still read what groups have committed."""
        found: list[Found] = []

        def is_known() -> bool:
            found.append(self.found(step))
            return isinstance(found[-1], Facts)

        until(is_known, "it is known")
        assert isinstance(found[-1], Facts)
        return found[-1]

    def demand(self, step: str, ahead: float = 0.0) -> Demand:
        """As it will be so many seconds from now, if nothing happens."""
        return demand(self.facts(step), Calendar(), time.time() + ahead, LEAD)


@pytest.fixture
def looking(kit: Kit) -> Iterator[Any]:
    made: list[Looking] = []

    def look(flow: Flow[Any]) -> Looking:
        made.append(Looking(kit, flow))
        return made[-1]

    yield look
    for one in made:
        one.reader.close()


def in_transactions(kit: Kit, topic: str, count: int) -> None:
    """Orders as a source publishes them: each transaction ends with a marker, an offset, too."""
    producer = kafka.producer(kit.backbone, transactional_id=f"orders-{uuid.uuid4().hex}")
    producer.init_transactions(30)
    events = [kit.event(f"k{n % 20}", f"e{n}", order(n)) for n in range(count)]
    for start in range(0, count, 10):
        producer.begin_transaction()
        kafka.produce(producer, [(topic, *event) for event in events[start : start + 10]])
        producer.commit_transaction(30)


def lag(kit: Kit, group: str, topic: str) -> int:
    """As a scaler by lag counts it: ends less committed offsets."""
    client = kafka.admin(kit.backbone)
    places = [(topic, number) for number in range(kit.backbone.partitions)]
    ends: Any = committed_ranges(client, places)
    with closing(GroupOffsets(kit.backbone)) as offsets:
        done: Any = offsets.ask({group: places})[group]
    return sum(ends[at.topic, at.partition].stop - at.offset for at in done)


def test_what_exactly_once_has_drained_is_no_work(kit: Kit, looking: Any) -> None:
    """Markers stay behind every committed offset, and look like lag for ever."""
    sink = Scripted()
    flow = delivering(sink)
    kit.create(flow)
    canonical, inbox = flow.topics[0].topic, flow.destinations[0].inbox
    scaler = looking(flow)
    in_transactions(kit, canonical, 200)
    assert (scaler.demand("route").active, scaler.demand("route").sendable) == (True, 200)
    assert not scaler.demand("deliver").active

    async def drain() -> None:
        async with kit.running(flow, "route"):
            route = naming.route_group(flow.name)
            await eventually(lambda: lag(kit, route, canonical) < 30, "it is routed", asks=True)
        assert (scaler.demand("deliver").sendable, scaler.demand("route").active) == (200, False)
        async with kit.running(flow, "deliver"):
            await eventually(lambda: len(sink.ids) == 200, "it is delivered")
            await eventually(lambda: not scaler.demand("deliver").active, "in use", asks=True)
            assert scaler.facts("deliver").members == 1

    asyncio.run(drain())
    assert lag(kit, naming.route_group(flow.name), canonical) > 0
    assert lag(kit, naming.delivery_group(flow.name, "erp"), inbox) > 0
    for step in ("route", "deliver"):
        assert scaler.demand(step) == Demand(False, float("inf"), 0, 0.0)
        assert looking(flow).demand(step) == Demand(False, float("inf"), 0, 0.0)


def test_history_that_is_deleted_is_no_work(kit: Kit, looking: Any) -> None:
    """Without a commit, the end of the topic would be taken for so many events."""
    flow = delivering(Scripted())
    kit.create(flow)
    inbox = flow.destinations[0].inbox
    kit.produce(inbox, [kit.event(f"k{n}", f"e{n}") for n in range(100)])
    scaler = looking(flow)
    assert scaler.demand("deliver").sendable == 100
    client = kafka.admin(kit.backbone)
    ends: Any = committed_ranges(client, [(inbox, n) for n in range(kit.backbone.partitions)])
    deleted = client.delete_records([TopicPartition(*at, held.stop) for at, held in ends.items()])
    for future in deleted.values():
        future.result()
    assert sum(held.stop for held in ends.values()) == 100
    for one in (scaler, looking(flow)):
        assert one.demand("deliver") == Demand(False, float("inf"), 0, 0.0)


def test_what_is_completed_out_of_order_is_no_work(kit: Kit, looking: Any) -> None:
    """The commit's offset stands still, and its metadata tell what is completed beyond."""
    flow = delivering(Scripted())
    kit.create(flow)
    inbox, group = flow.destinations[0].inbox, naming.delivery_group(flow.name, "erp")
    kit.produce(inbox, [kit.event("k", f"e{n}") for n in range(5)])
    (place,) = {message.partition() for message in kit.read(inbox)}
    with closing(kafka.consumer(kit.backbone, group)) as client:
        done = TopicPartition(inbox, place or 0, 1, encode_completed(1, {2, 4}))
        client.commit(offsets=[done], asynchronous=False)
    assert looking(flow).demand("deliver").sendable == 2


def test_what_waits_is_work_when_it_is_due(kit: Kit, looking: Any) -> None:
    """Or when an operator wants it now; and never while the destination is paused."""
    sink = Scripted(lambda event, attempt: Retryable("later") if event.key == "a" else None)
    flow = delivering(sink, retry=HOURLY)
    kit.create(flow)
    kit.produce(
        flow.destinations[0].inbox,
        [kit.event("a", "a1"), kit.event("a", "a2"), kit.event("b", "b1")],
    )
    target, scaler = admin.Target(flow.name, "erp"), looking(flow)

    async def deliver() -> None:
        async with kit.running(flow, "deliver"):
            waiting = lambda: admin.list_waiting(kit.backbone, target)  # noqa: E731
            await eventually(waiting, "the first of a waits", asks=True)
            await eventually(lambda: sink.ids == ["b1"], "b is delivered")

    asyncio.run(deliver())
    (first,) = admin.list_waiting(kit.backbone, target)
    due = first.due.timestamp()  # and the second one, which is still in the inbox, not before
    assert scaler.demand("deliver").wake_at == pytest.approx(due, abs=0.01)
    left = due - time.time()
    assert not scaler.demand("deliver", left - LEAD - 1).active
    assert scaler.demand("deliver", left - LEAD + 1) == Demand(True, due)
    assert scaler.demand("deliver", left + 1).sendable == 2
    admin.pause_destination(kit.backbone, target, why="upgrade")
    assert not scaler.demand("deliver", left + 1).active
    admin.resume_destination(kit.backbone, target)
    assert scaler.demand("deliver", left + 1).active
    admin.retry_waiting(kit.backbone, target, key="a")
    assert scaler.demand("deliver").sendable == 2


def test_dead_letters_and_halted_keys_are_no_work(kit: Kit, looking: Any) -> None:
    """Until a person decides: that is work for who routes, and then for who delivers."""
    sink = Scripted(lambda event, attempt: Rejected("no") if event.key == "a" else None)
    flow = delivering(sink, retry=HOURLY, on_dead="halt")
    kit.create(flow)
    kit.produce(flow.destinations[0].inbox, [kit.event("a", "a1"), kit.event("b", "b1")])
    target, scaler = admin.Target(flow.name, "erp"), looking(flow)

    async def deliver() -> None:
        async with kit.running(flow, "deliver"):
            waiting = lambda: any(one.halted for one in admin.list_waiting(kit.backbone, target))  # noqa: E731
            await eventually(waiting, "a halts", asks=True)
            await eventually(lambda: sink.ids == ["b1"], "b is delivered")

    asyncio.run(deliver())
    assert scaler.demand("deliver", 3 * 3600).active is False
    letters = admin.open_dead_letters(kit.backbone, target)
    letters.submit(letters.plan_redrive(admin.DeadLetterFilter(), why="mended"))
    assert scaler.demand("route") == Demand(True, pytest.approx(time.time(), abs=60), 0, 1.0)

    async def route() -> None:
        async with kit.running(flow, "route"):
            done = lambda: not scaler.facts("route").errands  # noqa: E731
            await eventually(done, "the re-drive is done", asks=True)

    asyncio.run(route())
    assert scaler.demand("deliver").active


def test_topics_that_are_missing_are_made_by_a_worker_or_told(kit: Kit) -> None:
    flow = delivering(Scripted())
    with closing(ClusterReader(kit.backbone, steps_of(flow))) as reader:
        assert {found.errands for found in reader.look(time.time()).values()} == {True}  # type: ignore[union-attr]
    kept = kit.backbone.model_copy(update={"create": False})
    with closing(ClusterReader(kept, steps_of(flow))) as reader:
        texts = [found.text for found in reader.look(time.time()).values()]  # type: ignore[union-attr]
    assert all("topics are missing" in text and "trunkline apply" in text for text in texts)


def test_many_flows_are_looked_at_side_by_side(kit: Kit) -> None:
    flows = [delivering(Scripted()) for _ in range(5)]
    for flow in flows:
        kit.create(flow)
    for number, flow in enumerate(flows):
        kit.produce(flow.destinations[0].inbox, [kit.event("k", f"e{n}") for n in range(number)])
    with closing(ClusterReader(kit.backbone, [s for f in flows for s in steps_of(f)])) as reader:
        found: dict[StepKey, Any] = {}

        def are_known() -> bool:
            found.update(reader.look(time.time()))
            return all(isinstance(one, Facts) for one in found.values())

        until(are_known, "all are known")
    keys = [StepKey(flow.name, "deliver", "erp") for flow in flows]
    counts = [sum(map(len, found[key].ready.values())) for key in keys]
    assert counts == [0, 1, 2, 3, 4]
