"""The tests that the documentation shows pass, on the flows that it shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docs_pages import blocks

SHOWN = {
    *("orders.py", "test_outage.py", "test_refusal.py", "picks.py", "test_picks.py"),
    *("erp.py", "test_calls.py"),
}


def test_the_tests_that_are_shown_pass(tmp_path: Path) -> None:
    files = {block.title: block.text for block in blocks("python") if block.title in SHOWN}
    assert files.keys() == SHOWN
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
