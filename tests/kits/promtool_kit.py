"""promtool, which tests alerting rules: the machine's own, else Debian's package, unpacked.

Unpacking needs no root, starts no Prometheus as installing would, and is done once a machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from trunkline.local.artifacts import cache_dir


def promtool() -> str:
    """The program's path. Skips where it cannot be had, but never in CI."""
    kept = cache_dir() / "promtool"
    if found := shutil.which("promtool") or shutil.which(kept):
        return found
    try:
        with tempfile.TemporaryDirectory() as folder:
            _unpacked(Path(folder), kept)
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no promtool (install Prometheus): {error}")
    return str(kept)


def _unpacked(folder: Path, kept: Path) -> None:
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    state = (f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}/cache")
    apt = ["apt-get", "-qq", *(f"-o{setting}" for setting in (*state, "Debug::NoLocking=1"))]
    # Hooks of the machine may fail without root after the lists are there: the download tells.
    subprocess.run([*apt, "update"], cwd=folder, check=False, capture_output=True)
    subprocess.run([*apt, "download", "prometheus"], cwd=folder, check=True, capture_output=True)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder / "files"], check=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    beside = kept.with_suffix(f".{os.getpid()}")
    shutil.copy2(folder / "files/usr/bin/promtool", beside)
    beside.replace(kept)  # whole or not at all, for whoever looks at the same time
