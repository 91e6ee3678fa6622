"""Tables on real Kafka: read whole before they are ready, then followed; and kept on disk."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from engine_kit import Env, Kit, eventually
from trunkline import Flow, kafka
from trunkline.kafka.topics import TopicSpec
from trunkline.schemas.commerce import Order
from trunkline.streams.metrics import Metrics
from trunkline.streams.tables import reader
from trunkline.streams.tables.disk import on_disk
from trunkline.streams.tables.lookup import StoredIndex, StoredTable
from trunkline.streams.tables.memory import in_memory
from trunkline.streams.tables.reader import TopicReplaced
from trunkline.streams.tables.step import TablesStep
from trunkline.streams.tables.table_set import TableSet


@pytest.fixture(scope="module")
def kit(bootstrap: str, registry_url: str) -> Iterator[Kit]:
    made = Kit(bootstrap, registry_url)
    yield made
    made.close()


@pytest.fixture
def topic(kit: Kit) -> str:
    """A compacted topic of two partitions."""
    name = f"tables-{uuid.uuid4().hex[:8]}.orders"
    kafka.ensure_topics(kit.backbone, [TopicSpec(name, 2, compact=True)])
    return name


@dataclass
class Tables:
    """The tables of a worker that runs: orders by key, and by their status."""

    step: TablesStep
    by_key: StoredTable
    by_status: StoredIndex

    def cents(self, id: str) -> int | None:
        found = self.by_key.get(id)
        return found and found["total_cents"]


@asynccontextmanager
async def tables(kit: Kit, topic: str, folder: Path | None = None) -> AsyncIterator[Tables]:
    """A worker's tables, which have caught up. ``folder``: where they are kept, else in memory."""
    flow = Flow(f"tables-{uuid.uuid4().hex[:8]}", Env)
    orders = flow.existing_topic(topic, Order)
    by_key, by_status = flow.table(orders), flow.table(orders, by="status")
    found = TableSet(flow, kit.codec)
    opener = in_memory if folder is None else on_disk(folder)
    step = TablesStep(
        found,
        kit.backbone,
        Metrics(),
        opener=lambda topic: opener,
        learn=kit.codec.learn_schemas,
    )
    try:
        await step.start()
        made = found.lookup(by_key), found.lookup(by_status)
        assert isinstance(made[0], StoredTable)
        assert isinstance(made[1], StoredIndex)
        yield Tables(step, *made)
    finally:
        await step.stop()


def produce(kit: Kit, topic: str, *orders: Order) -> None:
    kit.produce(topic, [kit.event(one["id"], uuid.uuid4().hex, one) for one in orders])


def priced(id: str, cents: int, status: str = "paid") -> Order:
    return Order(id=id, status=status, total_cents=cents)


def read_records(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Of each start of a table: rows from disk, and records read."""
    lines = [r.args for r in caplog.records if "records read in" in r.msg]
    return [(args[2], args[3]) for args in lines if isinstance(args, tuple)][::2]  # type: ignore[misc]


@pytest.mark.parametrize("kept", [False, True], ids=["memory", "disk"])
def test_everything_is_read_at_the_start_and_what_comes_is_followed(
    kit: Kit, topic: str, tmp_path: Path, kept: bool
) -> None:
    produce(kit, topic, priced("a", 1), priced("b", 2), priced("a", 3), priced("c", 4, "new"))
    kit.produce(topic, [kit.delete("b", "gone")])

    async def run() -> None:
        async with tables(kit, topic, tmp_path / "t" if kept else None) as found:
            assert (found.cents("a"), found.cents("b"), len(found.by_key)) == (3, None, 2)
            assert [row["id"] for row in found.by_status["new"]] == ["c"]
            produce(kit, topic, priced("c", 5, "paid"), priced("d", 6))
            await eventually(lambda: "d" in found.by_key and found.cents("c") == 5, "followed")
            assert [row["id"] for row in found.by_status["paid"]] == ["a", "c", "d"]
            kit.produce(topic, [kit.delete("a", "gone")])
            await eventually(lambda: "a" not in found.by_key, "deleted")

    asyncio.run(run())


def test_only_the_rest_is_read_after_a_restart(
    kit: Kit, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    produce(kit, topic, *(priced(f"k{n}", n) for n in range(100)))

    async def start(*new: Order) -> None:
        produce(kit, topic, *new)
        async with tables(kit, topic, tmp_path / "t") as found:
            assert len(found.by_key) == 100
            assert found.cents("k7") == (70 if new else 7)

    asyncio.run(start())
    asyncio.run(start(priced("k7", 70), priced("k8", 80)))
    asyncio.run(start(priced("k7", 70)))
    assert read_records(caplog) == [("0", "100"), ("100", "2"), ("100", "1")]


def test_rows_of_a_topic_that_was_made_anew_are_thrown_away(
    kit: Kit, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    produce(kit, topic, priced("old", 1))
    asyncio.run(_once(kit, topic, tmp_path))
    _make_anew(kit, topic)
    produce(kit, topic, priced("new", 2), priced("newer", 3))
    assert asyncio.run(_once(kit, topic, tmp_path)) == ["new", "newer"]
    assert "they are of another topic" in caplog.text


def test_a_topic_that_is_made_anew_while_it_is_read_ends_the_worker(
    kit: Kit, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "REFRESH", 0.1)

    async def run() -> None:
        produce(kit, topic, priced("old", 1))
        async with tables(kit, topic) as found:
            await asyncio.to_thread(_make_anew, kit, topic)
            await eventually(lambda: isinstance(found.step.failure, TopicReplaced), "noticed")

    asyncio.run(run())


def test_partitions_that_are_added_are_read(
    kit: Kit, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of a row is in two partitions then: the one that it was in, and the one where it
    belongs now. Whichever is read first, the newer value counts."""
    monkeypatch.setattr(reader, "REFRESH", 0.1)
    ids = [f"k{n}" for n in range(40)]
    produce(kit, topic, *(priced(id, 1) for id in ids))

    async def run() -> None:
        async with tables(kit, topic, tmp_path / "t") as found:
            await asyncio.to_thread(_add_partitions, kit, topic)
            # A producer of its own: the kit's remembers the old number of partitions.
            with closing(Kit(kit.backbone.bootstrap, kit.backbone.registry)) as another:
                await asyncio.to_thread(produce, another, topic, *(priced(id, 2) for id in ids))
            await eventually(lambda: {found.cents(id) for id in ids} == {2}, "all are newer")
        for folder in (tmp_path / "t", tmp_path / "another", None):
            async with tables(kit, topic, folder) as found:
                assert {found.cents(id) for id in ids} == {2}
                assert len(found.by_key) == len(ids)

    asyncio.run(run())


def test_what_an_open_transaction_hides_is_waited_for(kit: Kit, topic: str) -> None:
    """Another worker may have looked up what is committed behind it: to be ready without that
    would be to go back."""
    open_ = kafka.producer(kit.backbone, transactional_id=f"open-{topic}")
    open_.init_transactions(30)
    open_.begin_transaction()
    key, value, headers = kit.event("a", "1", priced("a", 1))
    open_.produce(topic, value, key, headers=headers)
    open_.flush(30)

    async def run() -> None:
        started = asyncio.ensure_future(_once(kit, topic, None))
        done, _ = await asyncio.wait([started], timeout=1.5)
        assert not done, "it was ready before the transaction ended"
        await asyncio.to_thread(open_.commit_transaction, 30)
        assert await started == ["a"]

    asyncio.run(run())


async def _once(kit: Kit, topic: str, folder: Path | None) -> list[str]:
    """The keys of a worker's table, which starts and ends."""
    async with tables(kit, topic, folder and folder / "t") as found:
        return [key for key, _ in found.by_key.scan()]


def _add_partitions(kit: Kit, topic: str) -> None:
    client = kafka.admin(kit.backbone)
    client.create_partitions([NewPartitions(topic, 8)])[topic].result(30)


def _make_anew(kit: Kit, topic: str) -> None:
    client = kafka.admin(kit.backbone)
    client.delete_topics([topic])[topic].result(30)
    deadline = time.monotonic() + 30
    while topic in kafka.existing_topics(client):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kafka.ensure_topics(kit.backbone, [TopicSpec(topic, 2, compact=True)])
