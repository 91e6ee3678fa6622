"""What FileSource remembers: all that is there, as many contents as it may, in small parts."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from files_kit import batches, rows, source_of, write
from trunkline.connectors.files.memory import Content, Memory
from trunkline.errors import ConfigurationError, SourceError


def content(path: int, version: int = 0) -> Content:
    digest = sha256(f"{path}/{version}".encode()).digest()
    where = sha256(str(path).encode()).digest()[:8]
    return Content(where, digest[:12], digest[12:20], digest[20:28], version, version % 2 == 1)


def test_a_hundred_thousand_contents_come_back_and_one_more_writes_little() -> None:
    memory = Memory({}, 200_000)
    for n in range(100_000):
        memory.add(content(n, n % 3), ())
    parts = json.loads(json.dumps(memory.save()))
    assert max(map(len, parts.values())) < 20_000
    assert sum(map(len, parts.values())) < 7_000_000
    again = Memory(parts, 200_000)
    assert all(again.newest(content(n).path) == content(n, n % 3) for n in range(0, 100_000, 777))
    again.add(content(-1), ())
    saved = again.save()
    assert [name for name in saved if saved[name] != parts.get(name)].__len__() == 1


def test_the_newest_of_a_path_survives_being_stored() -> None:
    memory = Memory({}, 10)
    for version in (1, 2, 3, 1):
        memory.add(content(7, version), ())
    again = Memory(memory.save(), 10)
    assert [one.size for one in again.of(content(7).path)] == [2, 3, 1]
    assert again.newest(content(7).path) == content(7, 1)


def test_what_is_gone_or_replaced_is_forgotten_first_and_what_is_there_never() -> None:
    memory = Memory({}, 100)
    there = {content(n).path for n in range(90)}
    for n in range(90):
        memory.add(content(n), there)
    for n in range(1000, 1500):
        memory.add(content(n), there)
        memory.add(content(n % 90, n), there)
    known = Memory(memory.save(), 100)
    assert all(known.newest(content(n).path) for n in range(90))
    count = sum(len(known.of(content(n).path)) for n in (*range(90), *range(1000, 1500)))
    assert count == 100


def test_more_files_than_can_be_remembered_stop_the_source(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path, f"{n}.csv", n)
    with pytest.raises(SourceError, match=r"remember=2: move them away"):
        batches(source_of(tmp_path, remember=2))
    given = batches(source_of(tmp_path, remember=3))
    for path in tmp_path.iterdir():
        path.unlink()
    write(tmp_path, "4.csv", 4)
    assert rows(batches(source_of(tmp_path, remember=3), given[-1].position)) == ["4"]


def test_parts_of_something_else_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="none of FileSource's"):
        Memory({"0ff": "AAAA"}, 10)
