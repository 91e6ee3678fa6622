"""Copies of rows are never older than the rows."""

from __future__ import annotations

import pytest

from trunkline.streams.tables import recent_rows
from trunkline.streams.tables.recent_rows import LARGEST, Find, RecentRows


class Rows(dict[bytes, bytes]):
    """What is on disk; ``asked``: how often it was read."""

    asked = 0

    def find(self, key: bytes) -> bytes | None:
        self.asked += 1
        return self.get(key)


def in_front_of(find: Find) -> RecentRows:
    def failed(error: Exception) -> Exception:
        return error

    return RecentRows(find, b"", failed)


def asked_before(recent: RecentRows, rows: Rows, *keys: bytes) -> RecentRows:
    """What is asked for once more is kept."""
    there = dict(rows)
    rows.clear()
    for key in keys or there:
        recent.get(key)
    rows.update(there)
    return recent


def test_a_row_that_is_asked_for_twice_is_kept_and_read_again_when_it_was_written() -> None:
    rows = Rows({b"a": b"1"})
    recent = in_front_of(rows.find)
    assert [*(recent.get(b"a") for _ in range(4)), rows.asked] == [*[b"1"] * 4, 2]
    with recent.writing([b"a"]):
        rows[b"a"] = b"2"
    assert [recent.get(b"a"), recent.get(b"a"), rows.asked] == [b"2", b"2", 3]
    with recent.writing([b"a"]):
        del rows[b"a"]
    assert recent.get(b"a") is None


@pytest.mark.parametrize("during", [False, True], ids=["before it ends", "after it ended"])
def test_a_row_that_was_found_before_a_write_is_not_kept(during: bool) -> None:
    rows = Rows({b"a": b"old"})

    def find(key: bytes) -> bytes | None:
        """While the reader has found the row and not kept it yet, it is written."""
        found = rows.find(key)
        if found == b"old":
            if during:
                writing.__enter__()
                rows[b"a"] = b"new"
            else:
                with recent.writing([b"a"]):
                    rows[b"a"] = b"new"
        return found

    recent = asked_before(in_front_of(find), rows)
    writing = recent.writing([b"a"])
    assert recent.get(b"a") == b"old"
    if during:
        writing.__exit__(None, None, None)
    assert recent.get(b"a") == b"new"


def test_so_many_are_kept_and_none_that_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_rows, "RECENT", 4)
    rows = Rows({bytes([n]): b"x" for n in range(5)} | {b"large": b"x" * (LARGEST + 1)})
    recent = asked_before(in_front_of(rows.find), rows)
    for n in (0, 1, 2, 3, 4):
        recent.get(bytes([n]))
    before = rows.asked
    for n in (2, 3, 4):
        recent.get(bytes([n]))
    assert rows.asked == before
    recent.get(bytes([0]))
    assert rows.asked == before + 1
    for _ in range(2):
        recent.get(b"large")
    assert rows.asked == before + 3


def test_so_many_bytes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_rows, "RECENT_BYTES", 45)
    rows = Rows({bytes([n]): b"x" * 10 for n in range(5)})
    recent = asked_before(in_front_of(rows.find), rows)
    for n in range(5):  # four have 40 bytes: with the fifth the first two are gone
        recent.get(bytes([n]))
    before = rows.asked
    for n in (2, 3, 4):
        recent.get(bytes([n]))
    assert rows.asked == before
    recent.get(bytes([0]))
    assert rows.asked == before + 1


def test_what_is_asked_for_once_drives_out_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_rows, "RECENT", 20)
    rows = Rows({b"often": b"1"} | {b"%d" % n: b"x" for n in range(1_000)})
    recent = in_front_of(rows.find)
    for _ in range(2):
        recent.get(b"often")
    for n in range(1_000):
        recent.get(b"%d" % n)
    before = rows.asked
    assert recent.get(b"often") == b"1"
    assert rows.asked == before
