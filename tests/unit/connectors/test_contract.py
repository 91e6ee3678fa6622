"""The acceptance suite passes connectors that keep the contract, and catches those that do not."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from trunkline import errors
from trunkline.connectors.base import Batch, Position, Publish, PushSource, Sink, Source
from trunkline.connectors.contract import (
    PushSourceContract,
    SinkContract,
    SourceContract,
    tools,
)
from trunkline.event import Change, Event, Record

LEAKED: list[socket.socket] = []
LEFT: list[threading.Thread] = []
LET_GO = threading.Event()
"""Ends the threads that were left."""


class MemorySink(Sink[Any]):
    """Keeps the contract, but for its one fault."""

    type = dict
    accepts_deletes = True
    max_batch = 10
    concurrency = 4

    def __init__(self, system: dict[str, tuple[int, int]], effects: list[str], fault: str) -> None:
        self.system, self.seen, self.fault, self.up = system, effects, fault, True

    async def open(self) -> None:
        if self.fault == "leaks a socket":
            LEAKED.append(socket.socket())
        if self.fault == "leaves a thread":
            LEFT.append(threading.Thread(target=LET_GO.wait))
            LEFT[-1].start()

    async def deliver(self, events: Sequence[Event[Any]]) -> None:
        await asyncio.sleep(0)
        if not self.up:
            shown = "hunter2" if self.fault == "shows a secret" else "***"
            kind = errors.Retryable if self.fault == "takes down for busy" else errors.Unavailable
            raise kind(f"no answer with password {shown}")
        self._refuse(events)
        self._take(events)

    def _refuse(self, events: Sequence[Event[Any]]) -> None:
        bad = [n for n, e in enumerate(events) if e.value is not None and e.data["revision"] < 0]
        if not bad or self.fault == "swallows refusals":
            return
        if self.fault == "rejects whole batches" or len(events) == 1:
            raise errors.Rejected("negative")
        self._take([event for n, event in enumerate(events) if n not in bad])
        raise errors.PartialFailure({n: errors.Rejected("negative") for n in bad})

    def _take(self, events: Sequence[Event[Any]]) -> None:
        if self.fault == "confirms early":
            return
        for event in reversed(events) if self.fault == "turns batches round" else events:
            if event.id not in self.seen or self.fault == "counts twice":
                self.seen.append(event.id)
            revision = 0 if event.change == "delete" else event.data["revision"]
            if event.change == "delete" and self.fault == "forgets deletes":
                continue
            _, offset = self.system.get(event.key, (0, 0))
            if event.offset >= offset or self.fault in ("goes back", "turns batches round"):
                self.system[event.key] = (revision, event.offset)


class OnMemory(SinkContract):
    effectively_once = True
    secrets = ("hunter2",)
    fault = ""

    def __init__(self) -> None:
        self.system: dict[str, tuple[int, int]] = {}
        self.seen: list[str] = []

    def sink(self) -> MemorySink:
        return MemorySink(self.system, self.seen, self.fault)

    def unreachable_sink(self) -> MemorySink:
        sink = self.sink()
        sink.up = False
        return sink

    def contents(self) -> dict[str, int]:
        return {key: revision for key, (revision, _) in self.system.items() if revision}

    def effects(self) -> int:
        return len(self.seen)

    def unacceptable(self, key: str) -> Event[Any]:
        return self.event(key, -1)


class MemorySource(Source):
    """Reads a log of changes; a position is an index of it."""

    def __init__(self, log: list[tuple[str, int, Change]], fault: str, up: bool = True) -> None:
        self.log, self.fault, self.up = log, fault, up
        if fault == "leaks a socket":
            LEAKED.append(socket.socket())

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        if not self.up:
            raise OSError("no route") if self.fault == "raises OSError" else errors.SourceError("?")
        at = 0 if position is None else position["at"]
        if position is not None:
            at += {"skips one": 1, "repeats one": -1}.get(self.fault, 0)
        while not stop.is_set():
            if at < len(self.log):
                records = [
                    self._record(n, *self.log[n]) for n in range(at, min(at + 2, len(self.log)))
                ]
                at += len(records)
                yield Batch(records, {"at": at})
            stop.wait(0.01)
        if self.fault == "stops late":
            threading.Event().wait(1.6)

    def _record(self, number: int, key: str, revision: int, change: Change) -> Record:
        if change == "delete" and self.fault == "blind to deletes":
            change = "update"
        record = Record(key=key, data={"revision": revision}, change=change)
        if self.fault != "new ids":
            record.id = f"change-{number}"
        return record


class OnLog(SourceContract):
    fault = ""

    def __init__(self) -> None:
        self.log: list[tuple[str, int, Change]] = []

    def source(self) -> MemorySource:
        return MemorySource(self.log, self.fault)

    def put(self, key: str, revision: int) -> None:
        self.log.append((key, revision, "update"))

    def remove(self, key: str) -> None:
        self.log.append((key, 0, "delete"))

    def unreachable_source(self) -> MemorySource:
        return MemorySource(self.log, self.fault, up=False)


class MemoryPush(PushSource):
    def __init__(self, fault: str) -> None:
        self.fault, self.publish = fault, None
        self.under_way: set[asyncio.Task[None]] = set()

    async def start(self, publish: Publish) -> None:
        self.publish: Publish | None = publish

    async def stop(self) -> None:
        if self.fault != "drops what is under way":
            await asyncio.gather(*self.under_way, return_exceptions=True)
        for task in self.under_way:
            task.cancel()
        if self.fault != "never stops":
            self.publish = None

    async def call(self, key: str, id: str) -> bool:
        if self.publish is None:
            return False
        record = (
            Record(key=key, data={}) if self.fault == "new ids" else Record(key=key, data={}, id=id)
        )
        task = asyncio.ensure_future(self._publish(self.publish, record))
        self.under_way.add(task)
        if self.fault != "confirms early":
            await asyncio.wait([task])
            return not task.cancelled() and task.exception() is None
        return True

    async def _publish(self, publish: Publish, record: Record) -> None:
        await publish([record])


class OnPush(PushSourceContract):
    fault = ""

    def source(self) -> MemoryPush:
        return MemoryPush(self.fault)

    async def push(self, source: PushSource, key: str, message: str) -> bool:
        assert isinstance(source, MemoryPush)
        return await source.call(key, message)


class TestGoodSink(OnMemory):
    __init__ = object.__init__

    @pytest.fixture(autouse=True)
    def _begin(self) -> None:
        OnMemory.__init__(self)


class TestGoodSource(OnLog):
    __init__ = object.__init__

    @pytest.fixture(autouse=True)
    def _begin(self) -> None:
        OnLog.__init__(self)


class TestGoodPushSource(OnPush):
    pass


@pytest.mark.parametrize(
    ("suite", "fault", "test"),
    [
        (OnMemory, "confirms early", "an_event_arrives"),
        (OnMemory, "confirms early", "a_full_batch_arrives"),
        (OnMemory, "confirms early", "different_keys_at_once"),
        (OnMemory, "counts twice", "the_same_event_twice_is_one_effect"),
        (OnMemory, "turns batches round", "order_of_a_key_inside_of_a_batch"),
        (OnMemory, "goes back", "nothing_late_comes_back"),
        (OnMemory, "forgets deletes", "deletes"),
        (OnMemory, "forgets deletes", "deletes_inside_of_a_batch"),
        (OnMemory, "swallows refusals", "what_the_system_refuses_is_rejected"),
        (OnMemory, "rejects whole batches", "a_rejection_inside_of_a_batch_names_its_event"),
        (OnMemory, "takes down for busy", "a_system_that_is_down_is_unavailable"),
        (OnMemory, "shows a secret", "a_system_that_is_down_is_unavailable"),
        (OnMemory, "leaks a socket", "close_releases_everything"),
        (OnMemory, "leaves a thread", "close_releases_everything"),
        (OnLog, "skips one", "every_position_gives_the_rest"),
        (OnLog, "new ids", "every_position_gives_the_rest"),
        (OnLog, "repeats one", "every_position_gives_the_rest"),
        (OnLog, "repeats one", "acknowledged_changes_do_not_come_again"),
        (OnLog, "repeats one", "changes_while_nobody_reads_are_not_lost"),
        (OnLog, "blind to deletes", "a_delete_is_a_record_with_its_key"),
        (OnLog, "stops late", "it_stops_while_it_waits"),
        (OnLog, "raises OSError", "a_system_that_is_down_is_a_source_error"),
        (OnLog, "leaks a socket", "close_releases_everything"),
        (OnPush, "confirms early", "it_confirms_only_what_kafka_has"),
        (OnPush, "confirms early", "it_does_not_confirm_what_kafka_refused"),
        (OnPush, "new ids", "a_message_sent_again_has_the_same_id"),
        (OnPush, "drops what is under way", "stop_finishes_what_was_accepted"),
        (OnPush, "never stops", "nothing_is_accepted_after_stop"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_fault_is_caught(
    monkeypatch: pytest.MonkeyPatch, suite: type, fault: str, test: str
) -> None:
    monkeypatch.setattr("trunkline.connectors.contract.sources.PATIENCE", 0.3)
    monkeypatch.setattr("trunkline.connectors.contract.tools.SETTLING", 0.3)
    case = suite()
    case.fault = fault
    try:
        with pytest.raises((AssertionError, OSError)):
            getattr(case, f"test_{test}")()
    finally:
        _release_what_leaked()


def _release_what_leaked() -> None:
    """The next test counts threads, too: those that were left have ended when this returns."""
    while LEAKED:
        LEAKED.pop().close()
    LET_GO.set()
    while LEFT:
        LEFT.pop().join(10)
    LET_GO.clear()


def test_the_suite_is_imported_without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(errors.MissingExtra, match=r"trunkline\[dev\]"):
        tools.skip("it does not apply")
