"""What writes beside the routing step: in its transactions, and in no other assignment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from routing_kit import INBOX, TOPIC, Routing
from trunkline.kafka import ProducerRecord

PAST = [ProducerRecord(INBOX, b"a", b"{}", [])]


def run(scene: Callable[[Routing], Any]) -> Routing:
    async def inside() -> Routing:
        routing = Routing(lambda event: None)
        try:
            await scene(routing)
        finally:
            routing.transactions.close()
        return routing

    return asyncio.run(inside())


def at(offset: int) -> TopicPartition:
    return TopicPartition(TOPIC, 0, offset)


def test_past_events_are_written_with_the_offset_where_the_group_stands() -> None:
    async def scene(routing: Routing) -> None:
        await routing.transactions.write(PAST, at(7), routing.transactions.epoch)

    assert run(scene).producer.committed == [([b"a"], {0: 7})]


def test_nothing_is_written_for_an_earlier_assignment() -> None:
    async def scene(routing: Routing) -> None:
        epoch = routing.transactions.epoch
        routing.intake.rewind()
        with pytest.raises(KafkaException) as raised:
            await routing.transactions.write(PAST, at(7), epoch)
        assert raised.value.args[0].code() == KafkaError.ILLEGAL_GENERATION

    assert run(scene).producers == []


@pytest.mark.parametrize(
    ("error", "producers"),
    [
        (KafkaError(KafkaError._STATE), 1),
        (KafkaError(KafkaError._FENCED, "fenced", fatal=True), 2),
    ],
    ids=["goes on", "is made anew"],
)
def test_a_failed_transaction_is_counted_and_the_producer(
    error: KafkaError, producers: int
) -> None:
    async def scene(routing: Routing) -> None:
        write, epoch = routing.transactions.write, routing.transactions.epoch
        await write([], at(0), epoch)
        routing.producer.failures.append(error)
        with pytest.raises(KafkaException):
            await write(PAST, at(7), epoch)
        await write(PAST, at(7), epoch)

    routing = run(scene)
    assert len(routing.producers) == producers
    assert routing.producer.committed[-1] == ([b"a"], {0: 7})
    assert routing.counted("transaction_failures") == 1


def test_a_transaction_whose_block_raises_is_aborted() -> None:
    async def scene(routing: Routing) -> None:
        async def break_off() -> None:
            async with routing.transactions.begin() as transaction:
                transaction.produce(PAST)
                raise LookupError

        with pytest.raises(LookupError):
            await break_off()

    routing = run(scene)
    assert (routing.producer.committed, routing.producer.aborted) == ([], 1)
    assert routing.counted("transaction_failures") == 0, "it is no failure of Kafka's"
