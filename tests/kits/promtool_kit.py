"""promtool, which tests alerting rules: the machine's own, else Debian's package, unpacked.

Unpacking needs no root, starts no Prometheus as installing would, and is done once a machine.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from program_kit import program
from trunkline.local.artifacts import cache_dir


def promtool() -> str:
    """The program's path. Skips where it cannot be had, but never in CI."""
    missing = "no promtool (install Prometheus)"
    return program(cache_dir() / "promtool", shutil.which("promtool"), _unpacked, missing)


def _unpacked(folder: Path) -> bytes:
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    state = (f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}/cache")
    apt = ["apt-get", "-qq", *(f"-o{setting}" for setting in (*state, "Debug::NoLocking=1"))]
    # Hooks of the machine may fail without root after the lists are there: the download tells.
    subprocess.run([*apt, "update"], cwd=folder, check=False, capture_output=True)
    subprocess.run([*apt, "download", "prometheus"], cwd=folder, check=True, capture_output=True)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder / "files"], check=True)
    return (folder / "files/usr/bin/promtool").read_bytes()
