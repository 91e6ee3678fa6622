"""A project, found from each of its folders, and what its pyproject.toml says of flows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trunkline import project
from trunkline.cli import app
from trunkline.cli.environment import backbone_of
from trunkline.errors import ConfigurationError

SAID = '[tool.trunkline]\nflows = ["flows/*.py", "more/late.py"]\n'
FLOW = 'from trunkline import Flow, Params\nimport shared\nflow = Flow("{}", Params)\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three flows, which import a module of its folder."""
    (tmp_path / "pyproject.toml").write_text(SAID)
    (tmp_path / "shared.py").touch()
    for name in ("flows/b", "flows/a", "more/late", "more/early"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(FLOW.format(Path(name).name))
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "prod.toml").write_text('[trunkline]\nbootstrap = "kafka-1:1"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path


@pytest.mark.parametrize(("at", "up"), [(".", ""), ("flows", "../"), ("more", "../")])
def test_its_flows_and_environments_are_found_from_each_folder(
    folder: Path, at: str, up: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / at)
    assert {Path(file).resolve() for file in project.flow_files()} == {
        folder / "flows" / "a.py",
        folder / "flows" / "b.py",
        folder / "more" / "late.py",
    }
    assert project.root() == Path(up)
    found = backbone_of("prod")
    assert (found.bootstrap, found.data) == ("kafka-1:1", f"{up}.trunkline/data")
    assert f"no stack runs on {up}.trunkline\n" in CliRunner().invoke(app, ["down"]).output
    told = CliRunner().invoke(app, ["down", "--home", ".trunkline"]).output
    assert "no stack runs on .trunkline\n" in told


def test_a_command_means_them_unless_it_is_given_others(folder: Path) -> None:
    told = CliRunner().invoke(app, ["check"]).output
    assert re.findall(r"^(\w+): ok", told, re.MULTILINE) == ["a", "b", "late"]
    told = CliRunner().invoke(app, ["check", "more/early.py"]).output
    assert re.findall(r"^(\w+): ok", told, re.MULTILINE) == ["early"]


@pytest.mark.parametrize("command", [["check"], ["plan"], ["apply"], ["diff", *["--env", "a"] * 2]])
def test_without_flows_each_command_says_where_to_name_them(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, ConfigurationError)
    assert 'pyproject.toml: [tool.trunkline] flows = ["flows/*.py"]' in str(done.exception)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('flow = ["x.py"]', "'flow' of [tool.trunkline] is read by nobody: did you mean flows?"),
        ('environment = "x"', "it has flows and schemas"),
        ('flows = "flows/*.py"', "is a list of files or patterns"),
        ("flows = [7]", "is a list of files or patterns"),
        ('flows = ["none/*.py"]', "no file is as none/*.py"),
        ('flows = ["/etc/*.py"]', "/etc/*.py: Non-relative patterns"),
        ("flows = [", "cannot be read"),
    ],
)
def test_a_mistake_is_told(folder: Path, said: str, told: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.trunkline]\n{said}\n")
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        project.flow_files()


def test_a_project_that_says_nothing_of_ours_has_no_folder_of_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "more" / "pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir(folder / "more")
    assert project.root() == Path()
