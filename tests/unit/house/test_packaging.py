"""Real folders at the top, one import root: the guards that keep both working.

Without them an sdist silently loses a folder, pyright checks nothing, or a module loads twice.
"""

from __future__ import annotations

import os
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINKED = ("streams", "connectors", "avro_schemas")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOL = PROJECT["tool"]


@pytest.mark.parametrize("name", LINKED)
def test_each_folder_of_the_top_is_linked_into_the_import_root(name: str) -> None:
    link = ROOT / "src" / "trunkline" / name
    assert link.is_symlink(), f"{link} must be a link (git config core.symlinks true)"
    assert os.readlink(link) == f"../../{name}"
    assert (ROOT / name / "__init__.py").is_file()


def test_there_are_no_other_links() -> None:
    links = {path.name for path in (ROOT / "src" / "trunkline").iterdir() if path.is_symlink()}
    assert links == set(LINKED)


@pytest.mark.parametrize("name", LINKED)
def test_each_linked_package_has_one_name(name: str) -> None:
    module = import_module(f"trunkline.{name}")
    assert str(module.__file__).endswith(f"trunkline/{name}/__init__.py")


def test_the_sdist_names_the_folders_that_the_links_point_to() -> None:
    included = set(TOOL["hatch"]["build"]["targets"]["sdist"]["only-include"])
    assert {"src", "deploy", *LINKED} <= included


def test_pyright_names_the_folders_as_it_does_not_follow_links() -> None:
    assert {"src/trunkline", "streams", "connectors"} <= set(TOOL["pyright"]["include"])


def test_ruff_bans_a_second_name_for_a_module() -> None:
    lint = TOOL["ruff"]["lint"]
    assert "TID" in lint["select"]
    assert {"streams", "connectors"} <= set(lint["flake8-tidy-imports"]["banned-api"])


def test_every_extra_that_an_error_names_exists() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    sources = [*(ROOT / "connectors").rglob("*.py"), *(ROOT / "src").rglob("*.py")]
    call = re.compile(r'MissingExtra\(\s*"[^"]*",\s*"([^"]+)"')
    named = {extra for path in sources for extra in call.findall(path.read_text())}
    assert named
    assert named <= set(extras)
