"""Debian's packages, unpacked without root: programs that tests need and the machine may lack."""

from __future__ import annotations

import subprocess
from pathlib import Path


def unpacked(folder: Path, *packages: str) -> Path:
    """Downloads packages into ``folder`` and unpacks them; gives the folder of their files.
    Raises CalledProcessError, and OSError where there is no apt."""
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    state = (f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}/cache")
    apt = ["apt-get", "-qq", *(f"-o{setting}" for setting in (*state, "Debug::NoLocking=1"))]
    # Hooks of the machine may fail without root after the lists are there: the download tells.
    subprocess.run([*apt, "update"], cwd=folder, check=False, capture_output=True)
    subprocess.run([*apt, "download", *packages], cwd=folder, check=True, capture_output=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "files"], check=True)
    return folder / "files"
