"""What every sink must do, as ``connectors/base.py`` says it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from trunkline.connectors.base import Sink
from trunkline.connectors.contract.tools import (
    PATIENCE,
    failure_of,
    leaves_nothing,
    make_event,
    run,
    skip,
)
from trunkline.errors import DataError, PartialFailure, Rejected, Unavailable
from trunkline.event import Change, Event


class SinkContract:
    """Acceptance suite of a sink. Subclass it, give ``sink``, ``contents``, ``unreachable_sink``,
    and what else applies.

    Each test begins with an empty system: empty it in ``sink``, in a fixture, or give every
    instance a place of its own (pytest makes one instance of the class for each test).
    """

    effectively_once = False
    """Set it if the system never goes back to an older state, whatever comes again."""
    secrets: Sequence[str] = ()
    """What ``unreachable_sink`` was given and no error may show."""

    def sink(self) -> Sink[Any]:
        """A new sink, not opened, on the system under test."""
        raise NotImplementedError

    def contents(self) -> dict[str, int]:
        """What the system holds now: the revision by key. Deleted keys are not in it."""
        raise NotImplementedError

    def unreachable_sink(self) -> Sink[Any]:
        """A sink whose system does not answer, such as one on a port where nobody listens."""
        raise NotImplementedError

    def data(self, key: str, revision: int) -> Any:
        """The value of an event, of the sink's type: the key and a number that ``contents`` finds
        again."""
        return {"id": key, "revision": revision}

    def unacceptable(self, key: str) -> Event[Any] | None:
        """An event that this system will never accept; None: there is no such thing."""
        return None

    def effects(self) -> int | None:
        """How many events have had an effect in the system so far; None: nobody can tell."""
        return None

    # What the tests use; not to be overridden.

    def event(self, key: str, revision: int, *, change: Change = "update") -> Event[Any]:
        """The next event of the inbox."""
        data = None if change == "delete" else self.data(key, revision)
        return make_event(key, data, change=change, offset=next(self._numbers()))

    def _numbers(self) -> itertools.count[int]:
        if not hasattr(self, "_offsets"):
            self._offsets = itertools.count(1)
        return self._offsets

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Sink[Any]]:
        """A new sink on an empty system, open; closed at the end, even if the test fails."""
        sink = self.sink()
        await sink.open()
        try:
            yield sink
        finally:
            await sink.close()

    # The tests.

    def test_it_says_what_it_takes(self) -> None:
        sink = self.sink()
        assert isinstance(sink.type, type), "Sink.type is the canonical type of what it accepts"
        assert sink.max_batch >= 1
        assert sink.concurrency >= 1

    def test_an_event_arrives(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                await sink.deliver([self.event("a", 1)])
                assert self.contents() == {"a": 1}, "deliver returned: the system has the event"

        run(test())

    def test_a_full_batch_arrives(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                keys = [f"k{number}" for number in range(min(sink.max_batch, 200))]
                await sink.deliver([self.event(key, 1) for key in keys])
                assert self.contents() == dict.fromkeys(keys, 1)

        run(test())

    def test_the_same_event_twice_is_one_effect(self) -> None:
        async def test() -> None:
            event = self.event("a", 1)
            async with self.opened() as sink:
                await sink.deliver([event])
            async with self.opened_again() as sink:  # as after a crash
                await sink.deliver([event])
            assert self.contents() == {"a": 1}
            assert self.effects() in (1, None), "event.idempotency_key tells a repeat"

        run(test())

    @asynccontextmanager
    async def opened_again(self) -> AsyncIterator[Sink[Any]]:
        """Another sink on the same system, which keeps what it has."""
        sink = self.sink_again()
        await sink.open()
        try:
            yield sink
        finally:
            await sink.close()

    def sink_again(self) -> Sink[Any]:
        """A second sink on the same contents. Override it where ``sink`` empties the system."""
        return self.sink()

    def test_the_newest_of_a_key_stays(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                for revision in (1, 2, 3):
                    await sink.deliver([self.event("a", revision)])
                assert self.contents() == {"a": 3}

        run(test())

    def test_order_of_a_key_inside_of_a_batch(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                if sink.max_batch < 4:
                    skip("the sink takes no batches")
                of = self.event
                await sink.deliver([of("a", 1), of("b", 1), of("a", 2), of("b", 2)])
                assert self.contents() == {"a": 2, "b": 2}

        run(test())

    def test_deletes(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                if not sink.accepts_deletes:
                    skip("the sink takes no deletes")
                await sink.deliver([self.event("a", 1)])
                await sink.deliver([self.event("b", 1)])
                delete = self.event("a", 0, change="delete")
                await sink.deliver([delete])
                assert self.contents() == {"b": 1}
                await sink.deliver([delete])
                assert self.contents() == {"b": 1}, "deleting what is gone is no error"
                await sink.deliver([self.event("a", 2)])
                assert self.contents() == {"a": 2, "b": 1}, "a key may come back"

        run(test())

    def test_deletes_inside_of_a_batch(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                if not sink.accepts_deletes or sink.max_batch < 5:
                    skip("the sink takes no deletes, or no batches")
                of = self.event
                gone = [of("a", 1), of("a", 0, change="delete")]
                back = [of("b", 1), of("b", 0, change="delete"), of("b", 2)]
                await sink.deliver([*gone, *back])
                assert self.contents() == {"b": 2}

        run(test())

    def test_a_delete_is_refused_where_deletes_are_not_taken(self) -> None:
        """The engine does not send one; a sink must not take it for something else."""

        async def test() -> None:
            async with self.opened() as sink:
                if sink.accepts_deletes:
                    skip("the sink takes deletes")
                error = await failure_of(sink.deliver([self.event("a", 0, change="delete")]))
                assert isinstance(error, Rejected | DataError), f"Rejected, not {error!r}"
                assert self.contents() == {}

        run(test())

    def test_nothing_late_comes_back(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                if not self.effectively_once:
                    skip("the sink promises at-least-once")
                first, second = self.event("a", 1), self.event("a", 2)
                other, gone = self.event("b", 1), self.event("b", 0, change="delete")
                for event in (first, second, other, gone, first, other):
                    await sink.deliver([event])
                assert self.contents() == {"a": 2}

        run(test())

    def test_different_keys_at_once(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                keys = [f"k{number}" for number in range(2 * min(sink.concurrency, 32))]
                for start in range(0, len(keys), sink.concurrency):
                    some = keys[start : start + sink.concurrency]
                    await asyncio.gather(*(sink.deliver([self.event(key, 1)]) for key in some))
                assert self.contents() == dict.fromkeys(keys, 1)

        run(test())

    def test_what_the_system_refuses_is_rejected(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                bad = self.unacceptable("bad") or skip("the system refuses nothing")
                error = await failure_of(sink.deliver([bad]))
                assert isinstance(_only(error), Rejected), f"{error!r} must be Rejected"
                assert str(error), "an error says what is wrong"
                await sink.deliver([self.event("a", 1)])
                assert self.contents() == {"a": 1}, "the sink goes on after a rejection"

        run(test())

    def test_a_rejection_inside_of_a_batch_names_its_event(self) -> None:
        async def test() -> None:
            async with self.opened() as sink:
                bad = self.unacceptable("bad") or skip("the system refuses nothing")
                if sink.max_batch < 4:
                    skip("the sink takes no batches")
                batch = [self.event("a", 1), bad, self.event("b", 1), self.event("a", 2)]
                error = await failure_of(sink.deliver(batch))
                assert isinstance(error, PartialFailure), f"PartialFailure, not {error!r}"
                assert {i: type(e) for i, e in error.failures.items()} == {1: Rejected}
                assert self.contents() == {"a": 2, "b": 1}, "all others are delivered"

        run(test())

    def test_a_system_that_is_down_is_unavailable(self) -> None:
        async def test() -> None:
            sink, opened = self.unreachable_sink(), False
            for _ in range(2):  # the engine tries again, with the same sink
                error = None if opened else await failure_of(sink.open())
                if error is None:
                    opened = True
                    error = await failure_of(sink.deliver([self.event("a", 1)]))
                assert isinstance(error, Unavailable), f"{error!r} must be Unavailable"
                shown = [secret for secret in self.secrets if secret in str(error)]
                assert not shown, "an error shows a secret"
            await sink.close()

        run(test())

    def test_a_cancelled_delivery_can_be_repeated(self) -> None:
        async def test() -> None:
            event = self.event("a", 1)
            async with self.opened() as sink:
                task = asyncio.ensure_future(sink.deliver([event]))
                await asyncio.sleep(0)  # it has begun
                task.cancel()
                await asyncio.wait([task], timeout=PATIENCE)
                assert task.done(), "a delivery ends when it is cancelled"
                await sink.deliver([event])
                assert self.contents() == {"a": 1}

        run(test())

    def test_close_releases_everything(self) -> None:
        async def use() -> None:
            async with self.opened_again() as sink:
                await sink.deliver([self.event("a", 1)])

        leaves_nothing(lambda: run(use()))

    def test_close_after_a_cancelled_delivery_releases_everything(self) -> None:
        async def use() -> None:
            async with self.opened_again() as sink:
                task = asyncio.ensure_future(sink.deliver([self.event("a", 1)]))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task], timeout=PATIENCE)

        leaves_nothing(lambda: run(use()))


def _only(error: Exception | None) -> Exception | None:
    """The one failure of a batch of one event, however the sink says it."""
    if isinstance(error, PartialFailure) and list(error.failures) == [0]:
        return error.failures[0]
    return error
