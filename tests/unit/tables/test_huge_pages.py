"""Huge pages: what a process has moves into them, and the stacks of its threads do not."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
import threading
from pathlib import Path
from trunkline.streams.tables.huge_pages import use_huge_pages

def kilobytes(name):
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(rollup.split(name + ":")[1].split()[0])

end = threading.Event()
threads = [threading.Thread(target=end.wait) for _ in range(30)]
for thread in threads:
    thread.start()
rows = {b"key %d" % number: b"row %d of them all" % number for number in range(300_000)}
before = kilobytes("Rss")
moved = use_huge_pages()
print(moved, kilobytes("AnonHugePages"), before, kilobytes("Rss"))
assert all(row == b"row" + key[3:] + b" of them all" for key, row in rows.items())
end.set()
"""


@pytest.fixture(scope="module")
def figures() -> tuple[int, int, int, int]:
    """Bytes moved, kilobytes in huge pages, kilobytes in memory before and after."""
    version = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if not SWITCH.exists() or "[never]" in SWITCH.read_text() or version < (6, 1):
        pytest.skip("this system gives no huge pages")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    moved, huge, before, after = map(int, done.stdout.split())
    return moved, huge, before, after


def test_what_is_in_memory_is_in_huge_pages_and_the_same_as_before(
    figures: tuple[int, int, int, int],
) -> None:
    moved, huge, before, _ = figures
    assert 0.3 * before < moved / 1024 <= huge, figures


def test_memory_does_not_grow_by_the_stacks_of_threads(
    figures: tuple[int, int, int, int],
) -> None:
    """30 stacks of 8 MB each."""
    _, _, before, after = figures
    assert after - before < 20_000, figures
