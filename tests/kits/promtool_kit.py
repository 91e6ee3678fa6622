"""promtool, which tests alerting rules: the machine's own, else Debian's package, unpacked.

Unpacking needs no root, starts no Prometheus as installing would, and is done once a machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import debian_kit
from program_kit import program
from trunkline.local.artifacts import cache_dir


def promtool() -> str:
    """The program's path. Skips where it cannot be had, but never in CI."""
    missing = "no promtool (install Prometheus)"
    return program(cache_dir() / "promtool", shutil.which("promtool"), _unpacked, missing)


def _unpacked(folder: Path) -> bytes:
    return (debian_kit.unpacked(folder, "prometheus") / "usr/bin/promtool").read_bytes()
