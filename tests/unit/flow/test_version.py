"""A flow's version: what it says itself, else a hash of its file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from trunkline import Flow, Params
from trunkline.streams.flow.version import version_of


class Env(Params):
    """No parameters."""


def test_a_flow_can_say_its_version() -> None:
    assert Flow("orders", Env, version="2026-11").version == "2026-11"


def test_a_flow_that_does_not_has_that_of_its_file() -> None:
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert Flow("orders", Env).version == digest[:12]


def test_another_file_is_another_version(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_bytes(b"1")
    before = version_of(str(file))
    file.write_bytes(b"2")
    assert version_of(str(file)) != before


def test_code_that_is_in_no_file_has_no_version() -> None:
    assert version_of("<stdin>") == ""
