"""What every source that is called by its system must do, as ``connectors/base.py`` says it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from trunkline.connectors.base import PushSource
from trunkline.connectors.contract.tools import PATIENCE, leaves_nothing, run
from trunkline.event import Record


class Published:
    """Stands in for Kafka: takes records when it is let, refuses them when it is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.let.set()
        self.down = False

    async def __call__(self, records: Sequence[Record]) -> None:
        self.asked.set()
        await self.let.wait()
        if self.down:
            raise ConnectionError("the broker is down")
        self.records += records


class PushSourceContract:
    """Acceptance suite of a push source. Subclass it, give ``source`` and ``push``."""

    def source(self) -> PushSource:
        """A new source, not started."""
        raise NotImplementedError

    async def push(self, source: PushSource, key: str, message: str) -> bool:
        """Send one message as the system does: an entity's key, and the message's own id.

        True if the source has confirmed it; False if it refused, or could not be reached.
        """
        raise NotImplementedError

    @asynccontextmanager
    async def started(self) -> AsyncIterator[tuple[PushSource, Published]]:
        """A new source that publishes to the ``Published`` beside it; stopped at the end, when
        everything that waits for Kafka is let go."""
        source, published = self.source(), Published()
        await source.start(published)
        try:
            yield source, published
        finally:
            published.let.set()
            await source.stop()

    def test_a_message_is_published_and_confirmed(self) -> None:
        async def test() -> None:
            async with self.started() as (source, published):
                assert await self.push(source, "a", "m1")
                assert [record.key for record in published.records] == ["a"]
                record, streams = published.records[0], source.streams()
                assert record.id
                assert streams is None or record.stream in streams, "a flow would be refused"

        run(test())

    def test_it_confirms_only_what_kafka_has(self) -> None:
        async def test() -> None:
            async with self.started() as (source, published):
                published.let.clear()
                pushing = asyncio.ensure_future(self.push(source, "a", "m1"))
                await asyncio.wait_for(published.asked.wait(), PATIENCE)
                await asyncio.wait([pushing], timeout=0.1)
                assert not pushing.done(), "confirmed before Kafka had it"
                published.let.set()
                assert await asyncio.wait_for(pushing, PATIENCE)

        run(test())

    def test_it_does_not_confirm_what_kafka_refused(self) -> None:
        async def test() -> None:
            async with self.started() as (source, published):
                published.down = True
                assert not await self.push(source, "a", "m1")
                published.down = False
                assert await self.push(source, "a", "m1"), "it goes on when Kafka is back"
                assert len(published.records) == 1

        run(test())

    def test_a_message_sent_again_has_the_same_id(self) -> None:
        async def test() -> None:
            async with self.started() as (source, published):
                for message in ("m1", "m1", "m2"):
                    assert await self.push(source, "a", message)
                first, again, other = (record.id for record in published.records)
                assert first == again
                assert first != other

        run(test())

    def test_messages_at_once(self) -> None:
        async def test() -> None:
            async with self.started() as (source, published):
                keys = [f"k{number}" for number in range(20)]
                done = await asyncio.gather(*(self.push(source, key, key) for key in keys))
                assert all(done)
                assert sorted(record.key for record in published.records) == sorted(keys)

        run(test())

    def test_stop_finishes_what_was_accepted(self) -> None:
        async def test() -> None:
            source, published = self.source(), Published()
            await source.start(published)
            published.let.clear()
            pushing = asyncio.ensure_future(self.push(source, "a", "m1"))
            await asyncio.wait_for(published.asked.wait(), PATIENCE)
            stopping = asyncio.ensure_future(source.stop())
            await asyncio.wait([stopping], timeout=0.1)
            published.let.set()
            await asyncio.wait_for(stopping, PATIENCE)
            assert await asyncio.wait_for(pushing, PATIENCE), "what was accepted is confirmed"
            assert [record.key for record in published.records] == ["a"]

        run(test())

    def test_nothing_is_accepted_after_stop(self) -> None:
        async def test() -> None:
            async with self.started() as (source, published):
                pass
            assert not await self.push(source, "a", "m1")
            assert published.records == []

        run(test())

    def test_stop_releases_everything(self) -> None:
        async def use() -> None:
            async with self.started() as (source, _):
                assert await self.push(source, "a", "m1")

        leaves_nothing(lambda: run(use()))
