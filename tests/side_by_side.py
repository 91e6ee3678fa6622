"""Runs all tests, several pytest processes side by side: most tests wait for servers, not for CPU.

``python tests/side_by_side.py [--again]``. Each process has servers of its own. Its lines begin
with its name. ``--again``: what failed runs once more, alone, and is named: a test that passes only
then is flaky, and to be mended. Exit code 0 only if everything passed, or passed then.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
REST = "rest"
"""The group of every folder that no other group has."""
GROUPS = {"unit": ["tests/unit"], "servers": ["tests/integration"]}


def main() -> int:
    grouped = {path for paths in GROUPS.values() for path in paths}
    folders = sorted(f"tests/{f.name}" for f in (ROOT / "tests").iterdir() if _has_tests(f))
    groups = {**GROUPS, REST: [folder for folder in folders if folder not in grouped]}
    started = {name: _start(name, paths) for name, paths in groups.items()}
    failed = [name for name, run in started.items() if not run.passed()]
    if not failed:
        return 0
    if "--again" not in sys.argv[1:]:
        return 1
    return max(_again(name) for name in failed)


class _Run:
    """A pytest process whose lines are printed as they come, behind its name."""

    def __init__(self, name: str, arguments: list[str]) -> None:
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
            print(f"{self._name:8}| {line}", end="", flush=True)

    def passed(self) -> bool:
        code = self._process.wait()
        self._printer.join()
        minutes = (time.monotonic() - self._begin) / 60
        print(f"{self._name:8}| ended with {code} after {minutes:.1f} minutes", flush=True)
        return code == 0


def _start(name: str, paths: list[str]) -> _Run:
    _last_failed(name).unlink(missing_ok=True)
    return _Run(name, paths)


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


def _has_tests(folder: Path) -> bool:
    return folder.is_dir() and any(folder.rglob("test_*.py"))


if __name__ == "__main__":
    sys.exit(main())
