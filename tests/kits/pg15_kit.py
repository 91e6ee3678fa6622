"""PostgreSQL 15 beside the stack's 18: Debian's, of the machine or unpacked from its packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import debian_kit
from trunkline.local.artifacts import cache_dir
from trunkline.local.postgres import Postgres
from trunkline.local.server import reachable_place

_PLACE = Path("usr/lib/postgresql/15")
_PACKAGES = ("postgresql-15", "postgresql-client-15")


class Postgres15(Postgres):
    """As the stack's, in another version. Skips where it cannot be had, but never in CI."""

    @property
    def unpacked(self) -> Path:
        if _starts(Path("/") / _PLACE):
            return Path("/") / _PLACE
        kept = reachable_place(cache_dir() / "unpacked") / "debian-postgresql-15"
        try:
            if not kept.exists():
                _unpack(kept)
            if not _starts(kept / _PLACE):
                raise OSError(f"{kept} lacks libraries of Debian 12")
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no PostgreSQL 15 (install Debian's postgresql-15): {error}")
        return kept / _PLACE


def _starts(place: Path) -> bool:
    """Whether the programs are there, with the libraries that they need."""
    for name in ("postgres", "initdb"):
        try:
            subprocess.run([place / "bin" / name, "--version"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def _unpack(kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        files = debian_kit.unpacked(Path(folder), *_PACKAGES)
        shutil.rmtree(kept, ignore_errors=True)
        files.rename(kept)
    kept.chmod(0o755)
