"""A replay's reader: one range after the other, in a thread of its own, and never in the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from fake_consumer import FakeConsumer, Log
from trunkline.kafka import range_reader
from trunkline.kafka.offsets import Partition
from trunkline.kafka.range_reader import RangeReader
from trunkline.params import Backbone

ORDERS: Partition = ("orders", 0)
QUEUE: Partition = ("erp.dlq", 1)


def reader_of(client: FakeConsumer, *, live: bool = False) -> RangeReader:
    return RangeReader(lambda: cast(Consumer, client), lambda: live)


async def read(reader: RangeReader, place: Partition, start: int, until: int) -> list[int | None]:
    """The offsets of all records of a range."""
    await reader.seek(place, start, until)
    found: list[int | None] = []
    while not reader.ended:
        found += [message.offset() for message in await reader.read()]
        assert start <= reader.at <= until
    assert reader.at == max(start, until) if found else reader.at in (start, until)
    return found


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_ranges_are_read_one_after_the_other() -> None:
    client = FakeConsumer({ORDERS: Log(range(9), 10), QUEUE: Log({2, 5}, 6)})

    async def ranges() -> None:
        async with reader_of(client) as reader:
            assert await read(reader, ORDERS, 3, 7) == [3, 4, 5, 6]
            assert await read(reader, QUEUE, 0, 6) == [2, 5]
            assert await read(reader, ORDERS, 8, 10) == [8], "a marker ends the log"
            assert await read(reader, ORDERS, 4, 4) == []
            assert await read(reader, QUEUE, 3, 5) == [], "there are markers only"

    run(ranges())
    assert client.closed


def test_a_range_of_a_topic_that_was_made_anew_ends() -> None:
    async def ranges() -> None:
        async with reader_of(FakeConsumer({ORDERS: Log(range(2), 2)})) as reader:
            assert await read(reader, ORDERS, 5, 8) == []
            assert await read(reader, ORDERS, 1, 8) == [1]

    run(ranges())


def test_what_is_needed_of_a_piece_is_taken_in_the_readers_thread() -> None:
    def keys(messages: list[Message]) -> list[str]:
        return [
            f"{threading.current_thread().name[:11]} {message.offset()}" for message in messages
        ]

    async def first() -> None:
        async with reader_of(FakeConsumer({ORDERS: Log(range(2), 2)})) as reader:
            await reader.seek(ORDERS, 0, 2)
            assert await reader.read(keys) == ["replay-read 0", "replay-read 1"]

    run(first())


@pytest.mark.parametrize("live", [False, True])
def test_live_traffic_gets_as_much_time_as_reading_takes(
    live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    async def first() -> None:
        async with reader_of(FakeConsumer({ORDERS: Log(range(2), 2)}), live=live) as reader:
            await reader.seek(ORDERS, 0, 2)
            await reader.read()

    clock = iter([10.0, 10.25])
    monkeypatch.setattr(range_reader.asyncio, "sleep", rest)
    monkeypatch.setattr(range_reader.time, "monotonic", lambda: next(clock, 99.0))
    loop = asyncio.new_event_loop()
    loop.time = lambda: 0.0  # type: ignore[method-assign]  # the loop's clock is another one
    loop.run_until_complete(first())
    loop.close()
    assert rests == ([0.25] if live else [])


def test_the_group_stands_at_its_committed_offset_or_at_the_beginning() -> None:
    async def positions() -> None:
        client = FakeConsumer({}, committed_offsets={ORDERS: 7})
        async with reader_of(client) as reader:
            assert await reader.position(ORDERS) == 7
            assert await reader.position(QUEUE) == 0

    run(positions())


def test_a_fatal_error_ends_reading() -> None:
    fatal = KafkaError(KafkaError._FATAL, "fenced", fatal=True)
    client = FakeConsumer({ORDERS: Log(range(2), 2)}, troubles=[fatal])

    async def first() -> None:
        async with reader_of(client) as reader:
            await reader.seek(ORDERS, 0, 2)
            await reader.read()

    with pytest.raises(KafkaException, match="fenced"):
        run(first())
    assert client.closed


def test_a_replays_reader_fetches_little_ahead_and_a_users_settings_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Backbone] = []
    monkeypatch.setattr(
        range_reader.kafka, "consumer", lambda backbone, group, eof: made.append(backbone)
    )
    range_reader.reader_of(Backbone(kafka={"queued.min.messages": "7"}), "f.route")
    assert made[0].kafka == {
        "queued.min.messages": "7",
        "queued.max.messages.kbytes": "2048",
        "fetch.wait.max.ms": "10",
    }
