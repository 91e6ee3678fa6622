"""Prometheus, and promtool, which tests alerting rules: the machine's own, else Debian's package,
unpacked.

Unpacking needs no root, starts no Prometheus as installing would, and is done once a machine.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import debian_kit
from program_kit import program
from trunkline.local.artifacts import cache_dir


def promtool() -> str:
    """The program's path. Skips where it cannot be had, but never in CI."""
    return _program("promtool")


def prometheus() -> str:
    """As ``promtool``, of Prometheus itself."""
    return _program("prometheus")


def _program(name: str) -> str:
    missing = f"no {name} (install Prometheus)"
    return program(cache_dir() / name, shutil.which(name), partial(_unpacked, name), missing)


def _unpacked(name: str, folder: Path) -> bytes:
    return (debian_kit.unpacked(folder, "prometheus") / "usr/bin" / name).read_bytes()
