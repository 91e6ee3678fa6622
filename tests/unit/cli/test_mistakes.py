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
from trunkline.params import environment_file, load_backbone
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
    (environments / "deep.toml").write_text("a = " + "[" * 3000 + "]" * 3000)
    (environments / "long.toml").write_text("a = " + "9" * 5000)
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
        (["dlq", "list", "shop.erp", "--env", "deep"], "nested too deeply"),
        (["dlq", "list", "shop.erp", "--env", "long"], "not TOML"),
        (["dlq", "list", "shop.erp", "--env", ""], "--env is empty"),
        (["run", "f.py", "--env", ""], "--env is empty"),
        (["check", "f.py", "--env", ""], "--env is empty"),
        (["acls", "f.py", "--env", ""], "--env is empty"),
        (["check", ""], "there is no such module"),
        (["check", ".."], "there is no such module"),
        (["check", "x" * 5000 + ".py"], "File name too long"),
        (["check", "\udcff.py"], "there is no such file"),
        (["access", "issue", "ada", "--file", "nowhere/access.toml"], "nowhere"),
        (["up", "--home", "prod.toml"], "prod.toml"),
        (["up", "--kafka-port", "99999"], "65535"),
        (["up", "--mariadb-port", "-1"], "greater than or equal to 0"),
        (["servers", "--home", "prod.toml"], "prod.toml"),
        (["down", "--home", "prod.toml"], "prod.toml"),
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


@pytest.mark.parametrize(
    "key",
    [
        *(f"bootstrap = {text!r}" for text in ("", "h:99999", "h:abc", "http://h:9092", "a b:92")),
        *(f"bootstrap = {text!r}" for text in ("h:9092,", "[::1:9092", "u@h:9092", "h:0")),
        *(f"registry = {text!r}" for text in ("", "h:8081", "ftp://h", "http://", "http://h:abc")),
        *(f"registry = {text!r}" for text in ("http://h,", "http://[::1", "http://u:MARKED/pw@h")),
    ],
)
def test_an_address_that_cannot_be_is_told_before_anybody_connects(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "environments" / "prod.toml").write_text(f"[trunkline]\n{key}\n")
    monkeypatch.setattr(sys, "argv", ["trunkline", "dlq", "list", "shop.erp", "--env", "prod"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert f"parameter {key.split()[0]!r} is wrong: write " in told
    assert "MARKED" not in told


@pytest.mark.parametrize(
    "key",
    [
        *("kafka:9092", "k1:9092, k2:9093", "[::1]:9092", "SASL_SSL://kafka_1.eu:9093", "kafka"),
        *("http://r:8081", "https://u:p%40w@r/apis/ccompat/v7,http://r2", "http://[::1]:8081/"),
    ],
)
def test_an_address_that_can_be_is_taken(key: str) -> None:
    table = {"registry" if key.startswith("http") else "bootstrap": key}
    load_backbone({"trunkline": table}, environ={})


def test_an_environment_may_begin_with_the_mark_of_an_editor(tmp_path: Path) -> None:
    (tmp_path / "marked.toml").write_bytes(b"\xef\xbb\xbf[params]\nport = 1\n")
    assert environment_file("marked", tmp_path) == {"params": {"port": 1}}


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
