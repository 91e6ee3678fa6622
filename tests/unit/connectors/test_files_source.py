"""FileSource: each content once, whatever happens to the files meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from files_kit import bad, batches, records, rows, source_of, write
from trunkline.connectors.files import FileSource, JsonLines, folder
from trunkline.connectors.files.folder import Folder, Found, OpenFile
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Record


def test_a_thousand_files_of_one_time_and_a_hundred_older_ones_that_come_late(
    tmp_path: Path,
) -> None:
    for n in range(1000):
        write(tmp_path, f"{n:04}.csv", f"a{n}", modified=1_700_000_000)

    def late() -> None:
        for n in range(100):
            write(tmp_path, f"late{n:03}.csv", f"b{n}", modified=1_600_000_000 - n)

    given = batches(source_of(tmp_path), None, late)
    expected = [f"a{n}" for n in range(1000)] + [f"b{n}" for n in reversed(range(100))]
    assert rows(given) == expected, "by time and name, and the late ones"
    assert len({record.id for record in records(given)}) == 1100
    assert not rows(batches(source_of(tmp_path), given[-1].position))


def test_what_is_appended_is_read_and_nothing_twice(tmp_path: Path) -> None:
    files = [write(tmp_path, f"{n:02}.csv", f"{n}-1") for n in range(50)]

    def append() -> None:
        for n, path in enumerate(files):
            with path.open("a") as file:
                file.write(f"{n}-2,y\n")

    given = batches(source_of(tmp_path), None, append, append, lambda: None)
    appended = [f"{n}-2" for n in range(50)]
    assert rows(given) == [f"{n}-1" for n in range(50)] + appended * 2
    places = {record.place for record in records(given) if record.key == "7-2"}
    assert places == {"07.csv:3", "07.csv:4"}
    assert len({record.id for record in records(given)}) == 150


def test_a_file_that_grows_while_it_is_read_is_read_to_its_old_end_and_then_on(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "a.csv", 1, 2, 3, 4)
    reading = source_of(tmp_path, batch=2)
    seen: list[Record] = []
    stop = folder.threading.Event()
    for batch in reading.read(None, stop):
        if not seen:
            with path.open("a") as file:
                file.write("5,y\n")
        seen += batch.records
        if len(seen) == 4:
            stop.set()
    given = batches(source_of(tmp_path), batch.position)
    assert [record.key for record in seen] + rows(given) == ["1", "2", "3", "4", "5"]


def test_a_file_replaced_under_its_name_is_read_anew(tmp_path: Path) -> None:
    for n in range(20):
        write(tmp_path, f"{n:02}.csv", f"{n}a", modified=1_700_000_000)

    def replace() -> None:  # of the same size and time
        for n in range(20):
            write(tmp_path, f"{n:02}.csv", f"{n}b", modified=1_700_000_000)

    given = batches(source_of(tmp_path), None, replace)
    assert rows(given) == [f"{n}{x}" for x in "ab" for n in range(20)]
    assert len({record.id for record in records(given)}) == 40


def test_what_comes_again_is_not_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 1)

    def back() -> None:
        write(tmp_path, "a.csv", 1)

    given = batches(
        source_of(tmp_path), None, path.touch, lambda: write(tmp_path, "a.csv", 2), back, path.touch
    )
    assert rows(given) == ["1", "2"]
    write(tmp_path, "b.csv", 1)
    assert rows(batches(source_of(tmp_path), given[-1].position)) == ["1"], "another path"


def test_a_file_whose_last_line_was_cut_is_read_anew_when_it_grows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,note\n1,x\n2,y")
    whole = lambda: (tmp_path / "a.csv").write_text("id,note\n1,x\n2,yes\n")  # noqa: E731
    assert rows(batches(source_of(tmp_path), None, whole)) == ["1", "2", "1", "2"]


def test_every_position_goes_on_behind_its_last_record(tmp_path: Path) -> None:
    for n in range(6):
        write(tmp_path, f"{n}.csv", *(f"{n}-{i}" for i in range(n)))
    all_of_it = batches(source_of(tmp_path, batch=2))
    ids = [record.id for record in records(all_of_it)]
    assert len(ids) == 15
    done = 0
    for batch in all_of_it:
        done += len(batch.records)
        again = batches(source_of(tmp_path, batch=3), batch.position)
        assert [record.id for record in records(again)] == ids[done:]


@pytest.mark.parametrize("how", ["overwritten", "truncated", "replaced", "gone"])
def test_a_rest_that_is_lost_is_a_dead_letter(tmp_path: Path, how: str) -> None:
    path = write(tmp_path, "a.csv", 1, 2, 3, 4, 5, 6)
    position = batches(source_of(tmp_path, batch=2))[0].position
    assert position["file"]["line"] == 3
    if how == "overwritten":
        path.write_text("id,note\n7,x\n")
    elif how == "truncated":
        os.truncate(path, 12)
    elif how == "replaced":
        write(tmp_path, "a.csv", 7)
    else:
        path.unlink()
    given = batches(source_of(tmp_path), position)
    ((place, error, _),) = bad(given)
    assert place == "a.csv:4"
    assert "overwritten, or has gone" in error
    assert rows(given) == {"truncated": ["1"], "gone": []}.get(how, ["7"])
    assert not records(batches(source_of(tmp_path), given[-1].position)), "told once"


def test_a_file_overwritten_while_it_is_read_gives_no_mixture(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", *range(9000))
    reading, seen = source_of(tmp_path, batch=1000), []
    stop = folder.threading.Event()
    for batch in reading.read(None, stop):
        seen += batch.records
        if len(seen) == 1000:
            path.write_text("id,note\n" + "".join(f"n{n},x\n" for n in range(9000)))
        if seen[-1].key == "n8999":
            stop.set()
    keys = [record.key for record in seen if record.unreadable is None]
    assert keys == [str(n) for n in range(1000)] + [f"n{n}" for n in range(9000)]
    assert [record.place for record in seen if record.unreadable] == ["a.csv:1002"]
    assert len({record.id for record in seen}) == len(seen)


def test_a_file_that_vanishes_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", *range(10))
    seen = []
    stop = folder.threading.Event()
    for batch in source_of(tmp_path, batch=3).read(None, stop):
        path.unlink(missing_ok=True)
        seen += batch.records
        if len(seen) == 10:
            stop.set()
    assert [record.key for record in seen] == [str(n) for n in range(10)]


def test_a_file_is_read_when_it_was_the_same_for_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(folder.time, "monotonic", lambda: now[0])
    path = write(tmp_path, "a.csv", 1)
    seen: list[int] = []

    def after(seconds: float, *, touched: bool = False) -> Any:
        def step() -> None:
            seen.append(len(path.read_text()))
            now[0] += seconds
            if touched:
                with path.open("a") as file:
                    file.write("2,x\n")

        return step

    steps = [after(9), after(9, touched=True), after(9.9)]
    assert not rows(batches(source_of(tmp_path, settle="10s"), None, *steps))
    now[0] = 0
    steps = [after(5, touched=True), after(9.9), after(0.1)]
    assert rows(batches(source_of(tmp_path, settle="10s"), None, *steps)) == ["1", "2", "2"]


def test_a_marker_tells_that_a_file_is_complete(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", 1, modified=1_700_000_000)
    write(tmp_path, "b.csv", 2, modified=1_700_000_000)
    stale = tmp_path / "b.csv.done"
    stale.touch()
    os.utime(stale, (1_600_000_000, 1_600_000_000))
    (tmp_path / "a.csv.done").touch()
    given = batches(source_of(tmp_path, settle=None))
    assert rows(given) == ["1"], "b.csv was replaced since its marker was set"
    stale.touch()
    assert rows(batches(source_of(tmp_path, settle="1h"), given[-1].position)) == ["2"]


@pytest.mark.parametrize("after", ["delete", "archive"])
def test_finished_files_are_put_away_once_kafka_has_them(tmp_path: Path, after: str) -> None:
    write(tmp_path, "a.csv", 1)
    (tmp_path / "a.csv.done").touch()
    reading = source_of(tmp_path, after=after)
    batch = next(iter(reading.read(None, folder.threading.Event())))
    assert (tmp_path / "a.csv").exists(), "nothing is acknowledged"
    again = lambda: write(tmp_path, "a.csv", 2)  # noqa: E731
    nothing = lambda: None  # noqa: E731
    given = batches(source_of(tmp_path, after=after), batch.position, again, nothing, nothing)
    assert rows(given) == ["2"]
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    if after == "delete":
        assert left == []
    else:
        first, second = left
        assert first.startswith("archive/a-")
        assert second == "archive/a.csv"
        assert "1,x" in (tmp_path / second).read_text(), "the first one keeps its name"


def test_a_file_that_cannot_be_deleted_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.csv", 1)
    position = batches(source_of(tmp_path))[-1].position
    write(tmp_path, "b.csv", 2)

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(folder.os, "unlink", refuse)
    reading = source_of(tmp_path, after="delete").read(position, folder.threading.Event())
    assert [record.key for record in next(reading).records] == ["2"]
    with pytest.raises(SourceError, match=r"a\.csv cannot be deleted"):
        list(reading)


def test_a_file_that_may_not_be_opened_is_one_dead_letter_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.csv", 1)
    write(tmp_path, "b.csv", 2)
    opened, forbidden = Folder.open, [True]

    def guarded(place: Folder, file: Found, stop: threading.Event) -> OpenFile:
        if file.name == "a.csv" and forbidden:
            raise PermissionError(errno.EACCES, "Permission denied", file.path)
        return opened(place, file, stop)

    monkeypatch.setattr(Folder, "open", guarded)
    given = batches(source_of(tmp_path), None, lambda: None)
    assert (rows(given), len(bad(given))) == (["2"], 1)
    assert bad(given)[0][:2] == (
        "a.csv",
        "the file cannot be opened: Permission denied; it is tried again",
    )
    given = batches(source_of(tmp_path), given[-1].position, forbidden.clear, lambda: None)
    assert (rows(given), bad(given)) == (["1"], [])


def test_a_disk_that_fails_is_a_source_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.csv", 1)

    def broken(*_: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.pread", broken)
    with pytest.raises(SourceError, match=r"a\.csv cannot be read"):
        batches(source_of(tmp_path))


def test_names_folders_below_and_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "to-nothing.csv").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.csv")
    write(tmp_path, "a.csv", 1)
    write(tmp_path, "a.txt", 2)
    write(tmp_path / "in" / "deep", "b.csv", 3)
    (tmp_path / ".hidden.csv").write_text("id\n4\n")
    odd = os.fsdecode(b"odd-\xff.csv")
    (tmp_path / odd).write_text("id\n5\n")
    assert sorted(rows(batches(source_of(tmp_path)))) == ["1", "5"]
    given = batches(source_of(tmp_path, recursive=True, after="in/read", name_field="file"))
    told = {record.key: (record.place, record.data["file"]) for record in records(given)}
    assert told == {
        "1": ("a.csv:2", "a.csv"),
        "3": ("in/deep/b.csv:2", "in/deep/b.csv"),
        "5": ("odd-\\xff.csv:2", "odd-\\xff.csv"),
    }


def test_batches_are_bounded_and_hold_the_rows_of_many_files(tmp_path: Path) -> None:
    for n in range(300):
        write(tmp_path, f"{n:03}.csv", n)
    given = batches(source_of(tmp_path, batch=200))
    assert [len(batch.records) for batch in given] == [200, 100]
    (tmp_path / "big.jsonl").write_text(f'{{"id": "1", "text": "{"x" * 900_000}"}}\n' * 9)
    given = batches(source_of(tmp_path, pattern="*.jsonl", format=JsonLines()))
    assert [len(batch.records) for batch in given] == [5, 4]


def test_a_position_grows_by_parts_and_shares_those_that_are_the_same(tmp_path: Path) -> None:
    for n in range(60):
        write(tmp_path, f"{n:02}.csv", n, f"{n}b")
    positions = []
    stop = folder.threading.Event()
    for batch in source_of(tmp_path, batch=2).read(None, stop):
        positions.append(batch.position)
        if len(positions) == 60:
            stop.set()
    for before, now in pairwise(positions):
        old, new = before["parts"], now["parts"]
        assert sum(new[name] is not old.get(name) for name in new) <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"settle": None, "marker": ""},
        {"pattern": "in/*.csv"},
        {"max_row": 10},
        {"remember": 0},
        {"after": ""},
        {"key": []},
        {"settle": "ten seconds"},
    ],
    ids=repr,
)
def test_what_cannot_be_is_told_at_the_start(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        FileSource(tmp_path, **wrong)


def test_the_position_of_another_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="another source's"):
        batches(source_of(tmp_path), {"phase": "stream", "lsn": "0/1"})
