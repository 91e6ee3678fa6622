"""Rows on disk: what a start finds, what it throws away, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tables_kit import Orders
from trunkline.errors import TableUnreadable
from trunkline.streams.tables import disk
from trunkline.streams.tables.disk import DiskStore, on_disk
from trunkline.streams.tables.stored_state import StoredState


def anything_goes(state: StoredState) -> str:
    return ""


def reopened(
    folder: Path, why_not: Callable[[StoredState], str] = anything_goes
) -> tuple[Orders, StoredState]:
    store, state = on_disk(folder)(why_not)
    return Orders(store), state


def filled(folder: Path) -> None:
    orders, _ = reopened(folder)
    orders.state.offsets = {0: 3}
    orders.apply(orders.put("1"), orders.put("2", "new"), orders.put("3"))
    orders.store.close()


def test_a_start_finds_rows_entries_and_how_far_they_go(tmp_path: Path) -> None:
    filled(tmp_path / "t")
    orders, state = reopened(tmp_path / "t")
    assert (state.offsets, state.rows, len(orders.table)) == ({0: 3}, 3, 3)
    assert (orders.ids("paid"), orders.table["2"]["status"]) == (["1", "3"], "new")
    orders.apply(orders.delete("1"), orders.put("4"))
    assert len(orders.table) == 3
    orders.store.close()


@pytest.mark.parametrize("opened", ["new", "again"])
def test_no_blocks_are_kept_in_memory_and_files_are_merged_for_look_ups(
    tmp_path: Path, opened: str
) -> None:
    """A store that was opened again had the options that it was made with."""
    if opened == "again":
        filled(tmp_path / "t")
    orders, _ = reopened(tmp_path / "t")
    store = orders.store
    assert isinstance(store, DiskStore)
    assert " block_cache: (nil)" in (tmp_path / "t" / "LOG").read_text(), "RocksDB's own word"
    for number in range(2):
        orders.apply(*(orders.put(f"{number}-{n}") for n in range(50)))
        store._db.flush()
    orders.writer.finish()
    assert len(store._db.live_files()) == 1
    assert orders.table["1-49"]["id"] == "1-49"
    store.close()


def test_a_row_that_is_kept_in_memory_is_changed_by_its_record_and_by_no_route(
    tmp_path: Path,
) -> None:
    orders, _ = reopened(tmp_path / "t")
    orders.apply(orders.put("1", "new"))
    for _ in range(4):
        found = orders.table["1"]
        assert found["status"] == "new"
        found["status"] = "changed"
    orders.apply(orders.put("1", "paid"))
    assert [orders.table["1"]["status"] for _ in range(4)] == ["paid"] * 4
    orders.apply(orders.delete("1"))
    assert [orders.table.get("1") for _ in range(4)] == [None] * 4
    orders.store.close()


def test_a_start_that_reads_little_merges_nothing(tmp_path: Path) -> None:
    """The rows of a large table are not all written again because a few came since."""
    orders, _ = reopened(tmp_path / "t")
    orders.apply(*(orders.put(f"{n}") for n in range(100)))
    orders.writer.finish()
    orders.store.close()
    orders, _ = reopened(tmp_path / "t")
    store = orders.store
    assert isinstance(store, DiskStore)
    orders.apply(orders.put("new"))
    store._db.flush()
    orders.writer.finish()
    assert len(store._db.live_files()) == 2
    store.close()


def test_rows_that_do_not_fit_are_thrown_away_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path / "t")
    orders, state = reopened(tmp_path / "t", lambda state: "they are of another topic")
    assert (state.offsets, len(orders.table), list(orders.table.scan())) == ({}, 0, [])
    assert "they are of another topic" in caplog.text
    orders.store.close()


@pytest.mark.parametrize("damaged", ["CURRENT", "state"])
def test_what_is_damaged_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    folder = tmp_path / "t"
    filled(folder)
    if damaged == "state":
        store = DiskStore(folder)
        store._db[disk.STATE] = b"no JSON"
        store.close()
    else:
        (folder / damaged).write_text("nothing\n")
    orders, state = reopened(folder)
    assert (state.offsets, len(orders.table)) == ({}, 0)
    assert "read again from the topic" in caplog.text
    orders.store.close()


def test_a_disk_that_fails_holds_events_and_is_no_fault_of_theirs(tmp_path: Path) -> None:
    filled(tmp_path / "t")
    orders, _ = reopened(tmp_path / "t")
    orders.store.close()
    with pytest.raises(TableUnreadable, match="cannot be read"):
        orders.table.get("1")
    with pytest.raises(TableUnreadable, match="cannot be read"):
        list(orders.table.scan())


KILLED = """
    import sys
    from pathlib import Path
    from tables_kit import Orders
    from trunkline.streams.tables.disk import DiskStore

    orders = Orders(DiskStore(Path(sys.argv[1])))
    for number in range(1, 1_000_000):
        # Every batch changes both rows to the number, and the index, and says so.
        orders.state.offsets = {0: number}
        status = f"s{number}"
        orders.apply(*(orders.put(id, status, number) for id in "ab"))
        print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 40, 300])
def test_what_a_kill_leaves_is_whole_and_never_older_than_what_was_read(
    tmp_path: Path, after: int
) -> None:
    program = tmp_path / "killed.py"
    program.write_text(dedent(KILLED))
    path = os.pathsep.join(p for p in sys.path if p)
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "t")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as child:
        assert child.stdout is not None
        read = [int(line) for line, _ in zip(child.stdout, range(after), strict=False)]
        child.send_signal(signal.SIGKILL)
        read += [int(line) for line in child.stdout]
    orders, state = reopened(tmp_path / "t")
    assert state.offsets[0] >= read[-1]
    rows = [orders.table[id]["total_cents"] for id in "ab"]
    assert rows == [state.offsets[0]] * 2
    assert orders.ids(f"s{state.offsets[0]}") == ["a", "b"]
    assert len(list(orders.store.entries(b"\x01"))) == 2, "the entries of old values are gone"
    orders.store.close()
