"""``trunkline.testing``: time, the backbone in memory, and what a flow's test can say and see."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition

from delivery_kit import ErpTest, flow_of, ids
from trunkline import ConfigurationError, Flow, Params, Record, Rejected
from trunkline.connectors.webhook import WebhookSource
from trunkline.errors import DataError, SerializationError
from trunkline.kafka import PartitionRecord
from trunkline.schemas.commerce import Order
from trunkline.testing import FlowTest, Topics, VirtualLoop

# Time


@pytest.fixture
def loop() -> Any:
    loop = VirtualLoop(start=1000.0)
    yield loop
    loop.close()


def test_time_jumps_and_nobody_waits(loop: VirtualLoop) -> None:
    async def work() -> float:
        await asyncio.sleep(86_400 * 365)
        return loop.time()

    assert loop.run(work()) == 86_400 * 365
    assert loop.clock() == 1000 + 86_400 * 365


def test_a_run_ends_at_its_time_and_has_all_that_happens_until_then(loop: VirtualLoop) -> None:
    seen: list[float] = []
    for at in (1.0, 2.0, 2.0, 2.5):
        loop.call_at(at, lambda: seen.append(loop.time()))
    loop.run_for(2.0)
    assert seen == [1.0, 2.0, 2.0]
    assert loop.time() == 2.0
    loop.run_for(0.5)
    assert seen == [1.0, 2.0, 2.0, 2.5]


def test_what_belongs_in_a_thread_runs_at_once(loop: VirtualLoop) -> None:
    async def work() -> tuple[int, float]:
        return await asyncio.to_thread(threading.get_ident), loop.time()

    assert loop.run(work()) == (threading.get_ident(), 0.0)


def test_waiting_for_nobody_is_told(loop: VirtualLoop) -> None:
    async def work() -> None:
        await loop.create_future()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        loop.run(work())


# The backbone


def test_a_transaction_is_all_or_nothing_and_refuses_an_old_worker() -> None:
    topics = Topics(lambda: 0.0, partitions=1)
    old, new = topics.join("group"), topics.join("group")
    records = [PartitionRecord("tier", 0, b"a", None, [], 0)]
    with pytest.raises(KafkaException):
        topics.transact(records, [TopicPartition("inbox", 0, 5, "done")], old)
    assert topics.records("tier") == []
    topics.transact(records, [TopicPartition("inbox", 0, 5, "done")], new)
    assert len(topics.records("tier")) == 1
    at = topics.committed("group", TopicPartition("inbox", 0))
    assert (at.offset, at.metadata) == (5, "done")


def test_offsets_can_have_gaps_as_behind_transactions() -> None:
    topics = Topics(lambda: 0.0, partitions=1, gaps=True)
    topics.write([("t", b"a", None, [])] * 3)
    assert [message.offset() for message in topics.records("t")] == [0, 2, 4]
    assert [message.offset() for message in topics.read(("t", 0), 1, 9)] == [2, 4]


# What can be said


def test_an_event_of_a_topic_is_canonical() -> None:
    with ErpTest() as test:
        id_ = test.publish(test.orders, Order(id="7", status="paid", total_cents=1))
        (event,) = test.published(test.orders)
        assert (id_, event.id, event.key) == ("event-1", "event-1", "7")
        assert (event.type, event.change) == ("orders.create", "create")
        assert event.time == datetime(2026, 1, 1, tzinfo=UTC)
        (delivery,) = test.script.delivered
        assert delivery.data == event.data == Order(id="7", status="paid", total_cents=1)
        assert (delivery.id, delivery.key, delivery.number, delivery.tier) == (id_, "7", 1, "")


def test_a_delete_has_a_key_alone() -> None:
    with ErpTest() as test:
        test.send("7")
        test.publish(test.orders, None, key="7")
        assert test.script.delivered[-1].change == "delete"
        assert test.script.state == {}, "what the system has now"


def test_what_does_not_fit_its_schema_is_told_at_once() -> None:
    wrong: Any = {"id": "7", "status": 5, "total_cents": 1}
    with ErpTest() as test, pytest.raises(SerializationError, match="status"):
        test.publish(test.orders, wrong)


def test_an_event_needs_a_key() -> None:
    with ErpTest() as test, pytest.raises(ValueError, match="give key="):
        test.publish(test.orders, None)


def test_a_source_reads_records_through_its_topics() -> None:
    with ErpTest() as test:
        test.read(test.shop, Record(key="7", data={"number": 3}), Record(key="8", data={}))
        assert [attempt.key for attempt in test.script.delivered] == ["7"]
        (letter,) = test.dead_letters(test.shop)
        assert (letter.stage, letter.error) == ("publish", "KeyError")


def test_what_a_topic_leaves_out_and_the_flow_ignores_is_counted() -> None:
    flow = Flow("f", Params)

    @flow.source(ignore="audit_log")
    def shop(env: Params) -> WebhookSource:
        raise AssertionError("no connector is built")

    @flow.topic("shop.orders", source=shop)
    def orders(record: Record) -> Order | None:
        if record.data["test"]:
            return None
        return Order(id=record.key, status="paid", total_cents=1)

    with FlowTest(flow) as test:
        records = [Record(key=str(n), data={"test": n > 0}) for n in range(3)]
        test.read(shop, *records, Record(key="x", data={}, stream="audit_log"))
        test.read(shop, Record(key="3", data={"test": True}))
        assert [event.key for event in test.published(orders)] == ["0"]
        assert (test.left_out(orders), test.left_out()) == (3, 1)
        assert test.dead_letters(shop) == []


def test_a_source_that_gives_two_changes_one_id_fails_the_test() -> None:
    with ErpTest() as test:
        test.read(test.shop, Record(key="7", data={"number": 3}, id="same"))
        test.read(test.shop, Record(key="7", data={"number": 3}, id="same"))
        test.crash()
        with pytest.raises(AssertionError, match=r"one idempotency key.*the id 'same'"):
            test.read(test.shop, Record(key="7", data={"number": 4}, id="same"))


def test_a_script_answers_in_turn() -> None:
    with ErpTest(concurrency=1) as test:
        test.script.answers(200).answers(Rejected("never")).answers(500, times=2)
        test.send("a", "b", "c", "d")
        assert [type(a.error).__name__ for a in test.script.attempts] == [
            "NoneType", "Rejected", "Retryable", "Retryable",
        ]  # fmt: skip
        assert ids(test.script.failed) == ["b/2", "c/3", "d/4"]


def test_a_script_can_be_slow_and_down_and_recover() -> None:
    with ErpTest() as test:
        test.script.takes("2s")
        test.send("a")
        test.advance("1s")
        assert (test.script.attempts, test.script.under_way) == ([], 1)
        test.advance("1s")
        assert test.script.delivered[0].at == 2.0
        test.script.recovers().down()
        test.send("b")
        assert test.arrived == ["a/1"]
        test.script.up()
        test.run_until_idle()
        assert test.arrived == ["a/1", "b/2"]


def test_a_behaviour_may_be_a_coroutine() -> None:
    async def behaviour(events: Any) -> None:
        await asyncio.sleep(3)
        raise Rejected("no")

    with ErpTest() as test:
        test.script.does(behaviour)
        test.send("a")
        test.run_until_idle()
        (letter,) = test.dead_letters(test.erp)
        assert letter.message == "no"
        assert test.script.attempts[0].at == 3.0


# What can be seen


def test_what_waits_can_be_looked_at() -> None:
    with ErpTest() as test:
        test.script.answers(500)
        test.send("a")
        test.advance("1s")
        (wait,) = test.waiting(test.erp)
        assert (wait.id, wait.key, wait.tier, wait.due, wait.failures) == ("a/1", "a", "10s", 10, 1)
        assert str(wait) == "a/1 of key 'a' in tier 10s, due at 10.000 s, 1 attempts failed"


def test_idle_comes_or_says_what_waits() -> None:
    with ErpTest() as test:
        test.run_until_idle()
        assert test.elapsed == 0
        test.script.down()
        test.send("a")
        with pytest.raises(AssertionError, match="a/1 of key 'a' in the inbox"):
            test.run_until_idle("1h")
        assert test.elapsed == 3600


def test_the_clock_begins_where_it_is_told() -> None:
    with ErpTest(start="2026-03-29T00:59:00Z") as test:
        test.advance("1m")
        assert test.now == datetime(2026, 3, 29, 1, tzinfo=UTC)
        assert test.elapsed == 60


# Mistakes


def test_a_defect_ends_the_test() -> None:
    with ErpTest() as test:
        test._loop.call_later(5, lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            test.advance("1m")


def test_a_flow_with_problems_cannot_be_tested() -> None:
    flow = flow_of(retry="often")
    with pytest.raises(ConfigurationError, match="retry: 'often'"):
        FlowTest(flow)


class Env(Params):
    port: int


def test_a_builder_that_refuses_what_stands_in_asks_for_parameters() -> None:
    flow = Flow("picky", Env)

    @flow.destination
    def crm(env: Env) -> Any:
        raise ValueError(f"no port {env.port}")

    with pytest.raises(ConfigurationError, match=r"no port 1.*env=Env\(\.\.\.\)"):
        FlowTest(flow)


@pytest.mark.parametrize("refuse", [False, True])
def test_what_a_webhook_source_refuses_is_told_and_not_published(refuse: bool) -> None:
    flow = Flow("f", Params)

    @flow.source
    def hooks(env: Params) -> WebhookSource:
        return WebhookSource(port=0, key="/id", refuse=refuse)

    @flow.topic("shop.orders", source=hooks)
    def orders(record: Record) -> Order:
        return Order(id=record.key, status="paid", total_cents=record.data["cents"])

    call = [Record(key="1", data={"cents": 1}), Record(key="2", data={})]
    with FlowTest(flow) as test:
        if not refuse:
            test.read(hooks, *call)
        else:
            with pytest.raises(DataError, match="'2' cannot be taken: KeyError"):
                test.read(hooks, *call)
        assert len(test.published(orders)) == len(test.dead_letters(hooks)) == 1 - refuse
        test.read(hooks, Record(key="3", data={"cents": 1}))
        assert len(test.published(orders)) == 2 - refuse


def test_whether_a_source_refuses_is_asked_with_parameters_that_it_takes() -> None:
    flow = Flow("f", Params)

    @flow.source
    def hooks(env: Params) -> WebhookSource:
        raise ValueError("no port")

    @flow.topic("shop.orders", source=hooks)
    def orders(record: Record) -> Order:
        return Order(id=record.key, status="paid", total_cents=record.data["cents"])

    with FlowTest(flow) as test:
        test.read(hooks, Record(key="1", data={"cents": 1}))
        with pytest.raises(ConfigurationError, match="source hooks cannot be built for a test"):
            test.read(hooks, Record(key="2", data={}))
