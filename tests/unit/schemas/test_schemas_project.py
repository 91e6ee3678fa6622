"""Where ``trunkline schemas generate`` reads and writes, as the nearest pyproject.toml says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trunkline.cli import app
from trunkline.errors import ConfigurationError
from trunkline.schemas.generate.project import schema_folders

ITEM = {"type": "record", "name": "Item", "namespace": "shop", "fields": []}
SAID = '[tool.trunkline.schemas]\ninto = "acme/types"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a schema and a folder for its types; the current folder is its own."""
    (tmp_path / "avro_schemas" / "shop").mkdir(parents=True)
    (tmp_path / "avro_schemas" / "shop" / "Item.avsc").write_text(json.dumps(ITEM))
    (tmp_path / "acme" / "types").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(SAID)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def generated(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["schemas", "generate", *arguments])
    assert not isinstance(result.exception, ConfigurationError), result.exception
    return result.exit_code, result.output


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["schemas", "generate", *arguments])
    assert isinstance(result.exception, ConfigurationError)
    return str(result.exception)


@pytest.mark.parametrize("folder", [".", "acme", "avro_schemas/shop"])
def test_no_command_needs_into(project: Path, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / folder)
    code, told = generated("--check")
    assert code == 1
    assert told.endswith("is stale: run `trunkline schemas generate`\n")
    assert generated()[0] == 0
    assert (project / "acme" / "types" / "shop.py").exists()
    assert generated("--check") == (0, "")


def test_what_is_given_wins_and_is_told_again(project: Path) -> None:
    (project / "other").mkdir()
    code, told = generated("--check", "--into", "other")
    assert (code, told) == (
        1,
        "other/shop.py is stale: run `trunkline schemas generate --into other`\n",
    )
    (project / "avro_schemas").rename(project / "avro")
    assert generated("--into", "other", "--source", "avro")[0] == 0
    assert (project / "other" / "shop.py").exists()


def test_the_source_can_be_elsewhere(project: Path) -> None:
    (project / "avro_schemas").rename(project / "avro")
    (project / "pyproject.toml").write_text(SAID + 'source = "avro"\n')
    assert generated()[1].endswith("shop.py written\n")


def test_the_nearest_file_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = project / "services" / "billing"
    (inner / "types").mkdir(parents=True)
    (inner / "pyproject.toml").write_text('[tool.trunkline.schemas]\ninto = "types"\n')
    monkeypatch.chdir(inner)
    assert schema_folders(None, None).into == Path("types")
    assert schema_folders(None, None).source == Path("avro_schemas")


@pytest.mark.parametrize("text", ["", "[project]\nname = 'acme'\n", None])
def test_where_nobody_says_it_the_way_to_say_it_is_told(project: Path, text: str | None) -> None:
    file = project / "pyproject.toml"
    file.unlink() if text is None else file.write_text(text)
    told = refused()
    assert "--into FOLDER" in told
    assert "pyproject.toml: [tool.trunkline.schemas] into" in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.trunkline.schemas]\nout = 'x'\n", "has source, into and exceptions, no 'out'"),
        ("[tool.trunkline.schemas]\ninto = 7\n", "into of [tool.trunkline.schemas] names no"),
        ("[tool.trunkline.schemas]\ninto = ''\n", "into of [tool.trunkline.schemas] names no"),
        ("[tool.trunkline]\nschemas = 'acme'\n", "is no table"),
        ("tool = 7\n", "is no table"),
        ("[tool\n", "pyproject.toml cannot be read"),
        ("[tool.trunkline.schemas]\ninto = 'nowhere'\n", "there is no folder nowhere (into of ["),
        ("[tool.trunkline.schemas]\ninto = 'pyproject.toml'\n", "there is no folder pyproject"),
    ],
)
def test_a_mistake_in_the_file_is_told(project: Path, text: str, says: str) -> None:
    (project / "pyproject.toml").write_text(text)
    assert says in refused()


def test_a_folder_that_is_given_must_be_there(project: Path) -> None:
    assert refused("--into", "nowhere") == "there is no folder nowhere: make it first"
