"""``trunkline connector new``: what it writes is green as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trunkline.cli import app
from trunkline.errors import ConfigurationError

RULES = "E,F,W,I,B,UP,SIM,RUF,PT,ASYNC,TID,BLE,S110,S112,PLE,C4,RET"
KINDS = {"source": "Source", "push": "Receiver", "sink": "Sink"}


def new(*arguments: str) -> None:
    done = CliRunner().invoke(app, ["connector", "new", *arguments], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output


def passes(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine") / "connectors"
    for kind in KINDS:
        new(f"legacy_{kind}", "--kind", kind, "--into", str(folder))
    return folder


def test_each_kind_passes_its_acceptance_suite(generated: Path) -> None:
    told = passes(generated, "pytest", "-q", "-W", "error", ".")
    assert "passed" in told
    for kind, class_ in KINDS.items():
        assert (
            f"class Legacy{kind.capitalize()}{class_}"
            in (generated / f"legacy_{kind}.py").read_text()
        )


def test_each_kind_is_typed_and_in_style(generated: Path) -> None:
    passes(generated, "mypy", "--strict", "--no-error-summary", ".")
    # As in a project of somebody's: there trunkline is a library.
    passes(generated, "ruff", "check", "--isolated", "--line-length=100", f"--select={RULES}", ".")
    passes(generated, "ruff", "format", "--isolated", "--line-length=100", "--check", ".")


def test_what_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"test_mine\.py is there already"):
        new("mine", "--kind", "sink", "--into", str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["test_mine.py"]


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("Legacy", "sink", "no name"),
        ("1st", "sink", "no name"),
        ("../x", "sink", "no name"),
        ("class", "sink", "no name"),
        ("json", "source", "would hide"),  # which the file itself imports
        ("trunkline", "sink", "would hide"),
        ("erp", "both", "source, push, sink"),
    ],
)
def test_names_and_kinds_that_cannot_be(name: str, kind: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=told):
        new(name, "--kind", kind, "--into", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
