"""A person's mistake is one clear message: no traceback, and nothing that is taken silently; and
others' text stays text on a terminal."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkline import logs
from trunkline.cli import app, main, output
from trunkline.cli.destination import command_in_words
from trunkline.connectors.sql import SqlSink
from trunkline.connectors.webhook import WebhookSource
from trunkline.errors import AddressError, ConfigurationError
from trunkline.masking import escaped
from trunkline.schemas.commerce import Order
from trunkline.streams.admission.manual import OverrideRecord

EVIL = "bad \x1b[31mRED\x1b]0;title\x07 \x9b2J \u202eright\nFAKE 2026-01-01 I forged log line"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "notes.txt").write_text("no flow")
    environments = tmp_path / "environments"
    environments.mkdir()
    (environments / "local.toml").write_text("[params]\n")
    (environments / "latin.toml").write_bytes('[params]\nname = "Müller"\n'.encode("latin-1"))
    (environments / "folder.toml").mkdir()
    (tmp_path / "prod.toml").write_text("[params]\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "environments/local.toml"], "no Python file"),
        (["check", "flows"], "it is a folder"),
        (["check", "./flows"], "it is a folder"),
        (["check", "flows/notes.txt"], "no Python file"),
        (["check", "prod.toml"], "no Python file"),
        (["check", "flows/none.py"], "no such file"),
        (["run", "f.py", "--log-level", "verbose"], "there are debug, info, warning, error"),
        (["run", "f.py", "--log-format", "xml"], "there are auto, json, text"),
        (["run", "f.py", "--port", "70000"], "65535"),
        (["run", "f.py", "--drain", "soon"], "is not a duration"),
        (["run", "f.py", "--drain", "5m"], "at most 240s"),
        (["dlq", "list", "shop.erp", "--env", "../prod"], "names no environment"),
        (["dlq", "list", "shop.erp", "--env", "/etc/prod"], "names no environment"),
        (["dlq", "list", "shop.erp", "--env", "latin"], "not UTF-8"),
        (["dlq", "list", "shop.erp", "--env", "folder"], "cannot be read"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["trunkline", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code in (1, 2)
    assert says in " ".join((told.err + told.out).split())
    assert "Traceback" not in told.err


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output.split()[0]) == (0, "trunkline")


@pytest.mark.parametrize(
    "options",
    [
        {"port": 70_000},
        {"port": -1},
        {"port": "8080"},
        {"port": 80, "path": "hook"},
        {"port": 80, "max_body": 0},
    ],
)
def test_a_webhook_that_cannot_be_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="WebhookSource"):
        WebhookSource(key="id", **options)


@pytest.mark.parametrize("port", ["abc", "99999", "-1", "80:90"])
def test_a_database_url_with_no_port_is_refused_without_showing_it(port: str) -> None:
    with pytest.raises(AddressError, match="not a database URL") as refused:
        SqlSink(f"postgresql://u:MARKED@h:{port}/x", Order, table="orders", key="id")
    assert "MARKED" not in str(refused.value)


def is_harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def test_others_text_is_escaped() -> None:
    assert escaped("Zürich 東京 ok") == "Zürich 東京 ok"
    assert escaped("a\x1b[31m\n\u202e") == "a\\x1b[31m\\x0a\\u202e"
    assert escaped("a\nb", keep="\n") == "a\nb"


def test_a_log_line_is_one_line() -> None:
    try:
        raise ValueError(EVIL)
    except ValueError:
        record = logging.LogRecord("x", 40, "f", 1, "it said %s", (EVIL,), sys.exc_info())
    told = logs.TextFormatter().format(record)
    assert is_harmless(told)
    first, *rest = told.splitlines()
    assert "FAKE" in first
    assert all(line.startswith("    ") for line in rest)


def test_a_table_and_a_reason_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["message"], [[EVIL]])
    told = capsys.readouterr().out
    assert is_harmless(told)
    assert not any(line.startswith("FAKE") for line in told.splitlines())
    words = command_in_words(
        OverrideRecord("paused", None, by="ada", why=EVIL, at="2026-01-01"), 0.0
    )
    assert is_harmless(words)
    assert "\n" not in words
