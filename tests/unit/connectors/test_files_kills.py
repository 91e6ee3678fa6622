"""FileSource is killed again and again: each row is committed once, with one id."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import files_reader
from files_kit import write

KILLS = 8


@contextmanager
def reader(folder: Path, journal: Path) -> Iterator[None]:
    """A reading process, which is killed at the end."""
    command = [sys.executable, files_reader.__file__, str(folder), str(journal)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


def wait_for(journal: Path, size: int) -> None:
    deadline = time.monotonic() + 30
    while journal.stat().st_size < size:
        assert time.monotonic() < deadline, "nothing is read"
        time.sleep(0.001)


def rows_in(journal: Path) -> list[list[str]]:
    whole, _, _ = journal.read_bytes().rpartition(b"\n")
    return [row for line in whole.splitlines() for row in json.loads(line)["rows"]]


def test_killed_anywhere_it_commits_each_row_once(tmp_path: Path) -> None:
    chance, expected = random.Random(7), []
    folder, journal = tmp_path / "in", tmp_path / "journal"
    folder.mkdir()
    journal.touch()
    for kill in range(KILLS):
        for n in range(30):
            ids = [f"{kill}-{n}-{i}" for i in range(chance.choice([0, 1, 7, 400]))]
            write(folder, f"{kill}-{n}.csv", *ids)
            expected += ids
        with reader(folder, journal):
            wait_for(journal, journal.stat().st_size + chance.randrange(1, 60_000))
    with reader(folder, journal):
        deadline = time.monotonic() + 30
        while len(rows_in(journal)) < len(expected) or list(folder.glob("*.csv")):
            assert time.monotonic() < deadline, "rows are missing, or files not put away"
            time.sleep(0.02)
    found = rows_in(journal)
    assert sorted(key for key, _ in found) == sorted(expected)
    assert len({id for _, id in found}) == len(expected)
    assert len(list((folder / "archive").iterdir())) == KILLS * 30
