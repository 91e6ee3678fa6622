"""The flow API is typed end to end: right wiring passes, each wrong one is an error.

``right.py`` must pass; in ``wrong.py`` the lines that end in ``# wrong`` must be errors, and no
other line: in mypy (strict) and in pyright, as people use both.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHECKERS = {
    "mypy": ["mypy", "--strict", str(HERE / "right.py"), str(HERE / "wrong.py")],
    "pyright": ["pyright", "--project", str(HERE), "--pythonpath", sys.executable],
}
ERROR = re.compile(r"^\s*(?P<file>\S+\.py):(?P<line>\d+)(:\d+)?(:| -) error", re.MULTILINE)


def errors(checker: str) -> dict[str, set[int]]:
    """The lines that ``checker`` finds wrong, by file name."""
    command = [sys.executable, "-m", *CHECKERS[checker]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, f"{checker} did not report: {done.stdout}{done.stderr}"
    found: dict[str, set[int]] = {"right.py": set(), "wrong.py": set()}
    for match in ERROR.finditer(done.stdout):
        found[Path(match["file"]).name].add(int(match["line"]))
    return found


def marked() -> set[int]:
    """The lines of ``wrong.py`` that must be errors."""
    lines = (HERE / "wrong.py").read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


@pytest.mark.parametrize("checker", CHECKERS)
def test_wrong_wiring_is_an_error_and_right_wiring_is_not(checker: str) -> None:
    found = errors(checker)
    assert found["right.py"] == set()
    assert found["wrong.py"] == marked()
