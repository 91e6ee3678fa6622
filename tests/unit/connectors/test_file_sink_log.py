"""FileSink's log: whatever is killed, slow or repeated, an event is in one file."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.connectors.contract.tools import make_event
from trunkline.connectors.files import FileSink
from trunkline.connectors.files.objects import FolderObjects
from trunkline.connectors.files.write_log import Fenced, WriteLog, WrittenFile, mark
from trunkline.connectors.files.written_forms import Forms
from trunkline.errors import ConfigurationError, PartialFailure, Unavailable
from trunkline.event import Event, replaced
from trunkline.naming import inbox
from trunkline.schemas.commerce import Order

LINES = Forms(Order, "jsonl", False)


class Killed(BaseException):
    """The process ends here."""


class Fragile:
    """Objects in memory, as one of several workers sees them: before its n-th make it ends."""

    def __init__(self, shared: dict[str, bytes]) -> None:
        self.shared = shared
        self.left = 10**9
        self.asleep: list[tuple[str, bytes]] = []

    def open(self) -> None: ...

    def create(self, path: str, content: bytes) -> bool:
        if self.left <= 0:
            self.asleep.append((path, content))
            raise Killed
        self.left -= 1
        if path in self.shared:
            return False
        self.shared[path] = content
        return True

    def wake(self) -> None:
        """What it was about to make when it fell asleep."""
        for path, content in self.asleep:
            self.shared.setdefault(path, content)

    def read(self, path: str) -> bytes:
        return self.shared[path]

    def size(self, path: str) -> int:
        return len(self.shared[path])

    def names(self, folder: str) -> list[str]:
        return [path.split("/")[-1] for path in self.shared if path.startswith(f"{folder}/")]

    def remove(self, path: str) -> None:
        self.shared.pop(path, None)

    def close(self) -> None: ...


def deliver(objects: Fragile, offsets: list[int], now: float) -> None:
    """A worker that has just begun writes these events, two folders of them."""
    for _ in range(3):
        log = WriteLog(objects, "_trunkline/i-0", LINES, lambda: now)
        marks = {mark(offset, f"k{offset}"): offset for offset in offsets}
        fresh = sorted(marks[one] for one in log.missing(marks))
        files = []
        for odd in (0, 1):
            if some := [offset for offset in fresh if offset % 2 == odd]:
                path = f"odd={odd}/i-0-{some[0]}-{some[-1]}-{log.next}"
                all_ = b"".join(mark(offset, f"k{offset}") for offset in some)
                file = WrittenFile(path, some[0], some[-1], all_)
                files.append((file, "".join(f"{offset}\n" for offset in some).encode()))
        try:
            if files:
                log.write(files)
        except Fenced:
            continue
        return
    raise AssertionError("fenced again and again, by nobody")


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 12), st.integers(0, 6), st.booleans()),
        max_size=25,
    )
)
def test_each_event_is_in_one_file_through_deaths_and_sleepers(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    """Workers one after the other: each repeats up to so many events of before, writes so many new
    ones, and dies before its n-th make; the sleepers wake up at some later time."""
    shared: dict[str, bytes] = {}
    sleepers: list[Fragile] = []
    done = 0
    now = 0.0
    for repeated, new, makes, wakes in steps:
        now += 30
        worker = Fragile(shared)
        worker.left = makes
        try:
            deliver(worker, list(range(max(0, done - repeated), done + new)), now)
            done += new
        except Killed:
            sleepers.append(worker)
        if wakes and sleepers:
            sleepers.pop(0).wake()
    deliver(Fragile(shared), list(range(max(0, done - 4), done + 12)), now + 30)
    for sleeper in sleepers:
        sleeper.wake()
    lines = [
        int(line)
        for path, content in shared.items()
        if not path.startswith("_trunkline")
        for line in content.decode().split()
    ]
    assert sorted(lines) == list(range(done + 12))


def test_the_log_is_kept_short_and_numbers_go_on() -> None:
    objects = Fragile({})
    for number in range(60):
        deliver(objects, [number], now=number * 10.0)
    names = sorted(objects.names("_trunkline/i-0"))
    assert (len(names), names[-1]) == (20, "000000000060.json")


def entry(log: WriteLog, offset: int) -> list[tuple[WrittenFile, bytes]]:
    """What a worker is about to write."""
    file = WrittenFile(f"f-{offset}-{log.next}", offset, offset, mark(offset, f"k{offset}"))
    return [(file, f"{offset}\n".encode())]


def test_a_log_that_was_read_long_ago_is_read_again() -> None:
    """A partition comes back to a worker: where its next number was, entries of who had it
    meanwhile were removed."""
    objects, now = Fragile({}), 0.0
    log = WriteLog(objects, "_trunkline/i-0", LINES, lambda: now)
    log.write(entry(log, 0))
    for number in range(1, 60):
        now += 10
        deliver(objects, [number], now)
    with pytest.raises(Fenced):
        log.write(entry(log, 59))
    assert "_trunkline/i-0/000000000002.json" not in objects.shared


def test_who_fell_asleep_before_an_entry_makes_none_whose_number_is_free_again() -> None:
    objects, now = Fragile({}), 0.0
    log = WriteLog(objects, "_trunkline/i-0", LINES, lambda: now)
    create = objects.create

    def create_late(path: str, content: bytes) -> bool:
        nonlocal now
        objects.create = create  # type: ignore[method-assign]
        for number in range(60):
            now += 10
            deliver(objects, [number], now)
        return create(path, content)

    objects.create = create_late  # type: ignore[method-assign]
    with pytest.raises(Fenced):
        log.write(entry(log, 0))
    assert "_trunkline/i-0/000000000001.json" not in objects.shared


def test_an_entry_whose_author_slept_and_died_is_removed_by_who_reads_the_log() -> None:
    """Its number was free again, and he could not remove it: it is below a gap, and nobody's."""
    objects, now, stray = Fragile({}), 0.0, "_trunkline/i-0/000000000003.json"
    for number in range(60):
        now += 10
        deliver(objects, [number], now)
        if number == 2:
            entry_ = objects.shared[stray]
    assert stray not in objects.shared
    objects.shared[stray] = entry_
    deliver(objects, [60], now)
    assert stray not in objects.shared
    lines = [name for name in objects.shared if not name.startswith("_trunkline")]
    assert len(lines) == 61


def test_two_inboxes_with_one_name_lose_nothing(tmp_path: Path) -> None:
    for flow in ("a", "b"):
        data = Order(id="1", status="new", total_cents=1)
        event = make_event(flow, data, offset=0, topic=inbox(flow, "lake"))
        asyncio.run(delivered(FileSink(tmp_path, Order, name="orders", by=""), [event]))
    assert sorted(line["_key"] for line in written(tmp_path)) == ["a", "b"]


def test_a_file_is_void_in_the_form_of_its_name(tmp_path: Path) -> None:
    """A worker dies before its file, the next one makes that void, and a later one compresses."""
    objects = Fragile({})
    objects.left = 1
    log = WriteLog(objects, "_trunkline/i-0", LINES, lambda: 0.0)
    with pytest.raises(Killed):
        log.write([(WrittenFile("f.jsonl.gz", 0, 0, mark(0, "k")), b"x" * 99)])
    objects.left = 9
    for _ in range(2):
        log = WriteLog(objects, "_trunkline/i-0", LINES, lambda: 0.0)
        assert log.missing({mark(0, "k"): 0}) == {mark(0, "k")}
    assert gzip.decompress(objects.shared["f.jsonl.gz"]) == b""


def order(number: int, **more: Any) -> Event[Order]:
    data = Order(id=str(number), status="paid", total_cents=number)
    return make_event(str(number), data, offset=number, id=f"id-{number}", **more)


def written(folder: Path) -> list[dict[str, Any]]:
    """The lines of all files, by offset."""
    found = []
    for path in sorted(folder.rglob("*.jsonl*")):
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        found += [json.loads(line) for line in text.splitlines()]
    return sorted(found, key=lambda line: (line["_partition"], line["_offset"]))


async def delivered(sink: FileSink[Order], *calls: list[Event[Order]]) -> None:
    await sink.open()
    try:
        for events in calls:
            await sink.deliver(events)
    finally:
        await sink.close()


@pytest.mark.parametrize("compress", [False, True])
def test_lines_files_and_folders(tmp_path: Path, compress: bool) -> None:
    sink = FileSink(tmp_path, Order, compress=compress, name="orders")
    gone = make_event("9", None, change="delete", offset=3, partition=1)
    asyncio.run(delivered(sink, [order(7), order(8, partition=1), gone], [order(7), order(9)]))
    lines = written(tmp_path)
    assert [line["_offset"] for line in lines] == [7, 9, 3, 8]
    first = lines[0]
    assert {name: first[name] for name in ("_key", "_change", "_type", "_id", "id")} == {
        "_key": "7",
        "_change": "update",
        "_type": "contract.item",
        "_id": "id-7",
        "id": "7",
    }
    assert list(lines[2]) == [name for name in first if name.startswith("_")], "of a delete no more"
    day = first["_time"][:10]
    ending = "jsonl.gz" if compress else "jsonl"
    names = sorted(path.name.partition(".") for path in (tmp_path / f"day={day}").iterdir())
    assert [(name.rpartition("-")[0], end) for name, _, end in names] == [
        (f"orders-0-{7:012}-{7:012}-1", ending),
        (f"orders-0-{9:012}-{9:012}-2", ending),
        (f"orders-1-{3:012}-{8:012}-1", ending),
    ]
    assert not list((tmp_path / "_trunkline" / "begun").iterdir())


def test_an_inbox_that_was_made_anew_loses_nothing(tmp_path: Path) -> None:
    """Its offsets begin at 0 again, and the folder knows those of the former one."""
    asyncio.run(delivered(FileSink(tmp_path, Order, by=""), [order(0), order(1)]))
    other = make_event("x", Order(id="x", status="new", total_cents=1), offset=0, id="other")
    asyncio.run(delivered(FileSink(tmp_path, Order, by=""), [other, order(1)]))
    assert sorted(line["_key"] for line in written(tmp_path)) == ["0", "1", "x"]


def test_what_has_no_json_form_is_refused_alone(tmp_path: Path) -> None:
    bad = make_event("b", {"id": object()}, offset=1)
    with pytest.raises(PartialFailure) as told:
        asyncio.run(delivered(FileSink(tmp_path, Order), [order(0), bad, order(2)]))
    assert list(told.value.failures) == [1]
    assert [line["_offset"] for line in written(tmp_path)] == [0, 2]


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "none", Order)
    assert [one.what for one in sink.check()]
    with pytest.raises(Unavailable, match="none"):
        asyncio.run(delivered(sink, []))


def test_an_event_without_a_time_has_a_folder(tmp_path: Path) -> None:
    event = order(1)
    event.headers = [header for header in event.headers if header[0] != "ce_time"]
    asyncio.run(delivered(FileSink(tmp_path, Order, by="hour"), [event]))
    none = "__HIVE_DEFAULT_PARTITION__"
    assert [path.parent for path in tmp_path.rglob("*.jsonl")] == [
        tmp_path / f"day={none}" / f"hour={none}"
    ]


def test_a_day_is_one_of_utc(tmp_path: Path) -> None:
    event = order(1)
    event.headers = replaced(event.headers, {"ce_time": b"2026-12-01T01:00:00+02:00"})
    asyncio.run(delivered(FileSink(tmp_path, Order), [event]))
    assert [path.parent.name for path in tmp_path.rglob("*.jsonl")] == ["day=2026-11-30"]


def test_what_a_killed_worker_had_begun_is_removed_later(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.open()
    fresh, stale = (tmp_path / "_trunkline" / "begun" / name for name in ("fresh", "stale"))
    for path in (fresh, stale):
        path.write_bytes(b"x")
    os.utime(stale, (1, 1))
    objects.open()
    assert [path.exists() for path in (fresh, stale)] == [True, False]


class Clash(dict[str, Any]):
    """A type with a column of ours."""

    _key: str


@pytest.mark.parametrize(
    "wrong", [{"by": "week"}, {"name": "a/b"}, {"name": "_a"}, {"max_batch": 0}, {"type": Clash}]
)
def test_what_cannot_be_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="FileSink"):
        FileSink(tmp_path, **{"type": Order, **wrong})
