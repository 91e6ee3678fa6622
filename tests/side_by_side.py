"""Runs all tests, several pytest processes side by side: many tests wait for servers, not for CPU.

``python tests/side_by_side.py [--again]``. The tests are cut into groups; SLOTS of them run at a
time, and when one ends the next begins. Each has a process and servers of its own. Its lines begin
with its name. ``--again``: what failed runs once more, alone, and is named: a test that passes only
then is flaky, and to be mended. Exit code 0 only if everything passed, or passed then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
SLOTS = 2 * (os.cpu_count() or 1)
REST = "rest"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "crash": ("tests/crash",),
    "unit": ("tests/unit",),
    "publish": ("tests/integration/publish",),
    REST: (),
    "worker": tuple(
        f"tests/integration/{room}"
        for room in ("quota", "replay", "route", "scaler", "schemas", "tables", "worker")
    ),
    "contract": ("tests/contract",),
    "e2e": ("tests/e2e", "tests/typing"),
    "deliver": ("tests/integration/deliver", "tests/integration/dlq"),
    "chart": ("tests/kubernetes",),
}
"""Which folders run together; the groups that take longest come first, so that all end at about one
time. REST has each room that no other group has: a new one runs without being entered here."""


def main() -> int:
    groups = {**GROUPS, REST: _unnamed()}
    slots = ThreadPoolExecutor(SLOTS)
    try:
        passed = list(slots.map(_passes, groups, groups.values()))
    finally:
        slots.shutdown(cancel_futures=True)
    failed = [name for name, good in zip(groups, passed, strict=True) if not good]
    if not failed:
        return 0
    if "--again" not in sys.argv[1:]:
        return 1
    return max(_again(name) for name in failed)


def _unnamed() -> list[str]:
    """The folders with tests of their own that no group names."""
    named = tuple(f"{path}/" for paths in GROUPS.values() for path in paths)
    found = {file.parent.relative_to(ROOT) for file in (ROOT / "tests").rglob("test_*.py")}
    return sorted(str(room) for room in found if not f"{room}/".startswith(named))


class _Run:
    """A pytest process whose lines are printed as they come, behind its name."""

    def __init__(self, name: str, arguments: Iterable[str]) -> None:
        self._name = name
        self._begin = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={_cache(name)}", *arguments]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        self._printer = threading.Thread(target=self._print, args=(self._process.stdout,))
        self._printer.start()

    def _print(self, lines: IO[str]) -> None:
        for line in lines:
            print(f"{self._name:9}| {line}", end="", flush=True)

    def passed(self) -> bool:
        code = self._process.wait()
        self._printer.join()
        minutes = (time.monotonic() - self._begin) / 60
        print(f"{self._name:9}| ended with {code} after {minutes:.1f} minutes", flush=True)
        return code == 0


def _passes(name: str, paths: Iterable[str]) -> bool:
    _last_failed(name).unlink(missing_ok=True)
    return _Run(name, paths).passed()


def _again(name: str) -> int:
    """What failed in a group, once more. One that ended without saying what failed stays failed."""
    failed = sorted(json.loads(_text(_last_failed(name)) or "{}"))
    if not failed:
        print(f"{name}: it ended before its time")
        return 1
    print("once more, alone; each of these that passes now is flaky, and is to be mended:")
    print("\n".join(f"  {test}" for test in failed), flush=True)
    return 0 if _Run(f"{name}*", failed).passed() else 1


def _cache(name: str) -> Path:
    return ROOT / ".pytest_cache" / name.strip("*")


def _last_failed(name: str) -> Path:
    return _cache(name) / "v" / "cache" / "lastfailed"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
