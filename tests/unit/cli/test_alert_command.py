"""``trunkline alert test`` as a person calls it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from trunkline.cli import app
from trunkline.local.ports import free_port

HUSH = "hush-hush"


def test_the_command_says_of_each_channel_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("TRUNKLINE_ALERTS_SLACK", f"{nowhere}/{HUSH}")
    done = CliRunner().invoke(app, ["alert", "test"])
    assert done.exit_code == 1
    assert done.stdout.startswith("slack: failed: ConnectError")
    assert HUSH not in done.output


def test_the_command_fails_where_nobody_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUNKLINE_ALERTS_SLACK", raising=False)
    done = CliRunner().invoke(app, ["alert", "test"])
    assert done.exit_code == 1
    assert "no channel: name one in [alerts]" in done.stderr
