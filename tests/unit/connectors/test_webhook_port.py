"""A port belongs to one owner at a time, who may hold it several times."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trunkline.connectors.webhook.port import PortClaim
from trunkline.errors import SourceError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks of this test alone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"trunkline-{os.getuid()}"


def taken(owner: str, port: int = 8085) -> PortClaim:
    claim = PortClaim(port, owner)
    claim.take()
    return claim


def test_a_port_is_held_by_one_owner_and_free_when_the_last_has_released_it() -> None:
    first, second = taken("flow pay"), taken("flow pay")
    first.release()
    with pytest.raises(SourceError, match="port 8085 of this machine belongs to flow pay"):
        taken("flow refund")
    second.release()
    taken("flow refund").release()


def test_another_port_is_another_matter() -> None:
    pay, refund = taken("flow pay", 8085), taken("flow refund", 8086)
    pay.release()
    refund.release()


def test_who_was_refused_holds_nothing() -> None:
    first = taken("flow pay")
    with pytest.raises(SourceError):
        taken("flow refund")
    first.release()
    taken("flow refund").release()


def test_a_shorter_name_after_a_longer_one_is_itself() -> None:
    taken("flow with-a-long-name on kafka:9092").release()
    first = taken("flow a")
    taken("flow a").release()
    first.release()


def test_releasing_twice_or_before_taking_does_nothing() -> None:
    claim = PortClaim(8085, "flow pay")
    claim.release()
    claim.take()
    claim.release()
    claim.release()


def test_the_locks_are_this_users_alone(folder: Path) -> None:
    taken("flow pay").release()
    assert folder.stat().st_mode & 0o077 == 0
