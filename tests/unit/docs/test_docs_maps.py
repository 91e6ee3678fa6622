"""The maps of the house lead to what is there: folders, rooms, modules, functions, import rules."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import trunkline.streams
from docs_pages import ROOT, TEXTS

CONTRIBUTING = TEXTS[ROOT / "CONTRIBUTING.md"]
TRUNKLINE = ROOT / "src" / "trunkline"


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its rank."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rooms(folder: Path) -> list[str]:
    """The packages in a folder that stand in it and not elsewhere, behind a link."""
    found = (path.parent for path in folder.glob("*/__init__.py"))
    return sorted(path.name for path in found if not path.is_symlink())


def modules(folder: Path) -> list[str]:
    """The modules of a package by their names; private ones and the package itself are none."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def block(heading: str) -> str:
    """The drawing below a heading of CONTRIBUTING.md."""
    return section(CONTRIBUTING, heading).split("```text\n")[1].split("```")[0]


@pytest.mark.parametrize("folder", ["streams", "connectors", "src/trunkline"])
def test_the_map_has_each_room_once(folder: str) -> None:
    map_ = "\n" + block("The map")
    part = re.split(r"^(?=\S)", map_[map_.index(f"\n{folder}/") + 1 :], flags=re.MULTILINE)[1]
    for room in rooms(ROOT / folder):
        assert len(re.findall(rf"(?<![\w/]){room}/", part)) == 1, room


def test_the_map_has_each_folder_of_the_top_and_of_the_tests() -> None:
    map_ = block("The map")
    hidden_or_made = {".", "_"}
    for folder in [*ROOT.iterdir(), *(ROOT / "tests").iterdir()]:
        tracked = folder.is_dir() and folder.name[0] not in hidden_or_made
        if tracked and folder.name not in ("dist", "build"):
            assert f"{folder.name}/" in map_, folder.name


def test_the_map_has_each_module_beside_the_public_face() -> None:
    line = next(row for row in block("The map").splitlines() if "the public names" in row)
    assert sorted(re.findall(r"\w+", line.partition("beside it")[2])) == modules(TRUNKLINE)


def test_the_package_streams_shows_its_rooms_and_no_others() -> None:
    text = trunkline.streams.__doc__ or ""
    named = re.findall(r"^(\w+) {2,}\S", text, re.MULTILINE)
    assert sorted(named) == sorted([*rooms(ROOT / "streams"), *modules(ROOT / "streams")])


def layers(contract: str) -> list[list[str]]:
    """The layers of a contract of import-linter, without those that are still to come."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (found,) = [c for c in linter["contracts"] if c["name"].startswith(contract)]
    container = ROOT / "src" / Path(*found["containers"][0].split("."))
    split = [re.findall(r"\w+", layer) for layer in found["layers"]]
    return [[one for one in layer if list(container.glob(f"{one}*"))] for layer in split]


@pytest.mark.parametrize(
    ("table", "contract"), [("trunkline", "Each layer"), ("streams", "The rooms of streams")]
)
def test_the_import_rules_are_those_that_are_checked(table: str, contract: str) -> None:
    text = section(CONTRIBUTING, "Who imports whom")
    rows = text.split(f"| `{table}`, from the top | |\n|---|---|\n")[1].split("\n\n")[0]
    first = [row.split("|")[1] for row in rows.splitlines()]
    assert [sorted(re.findall(r"`(\w+)`", cell)) for cell in first] == [
        sorted(layer) for layer in layers(contract)
    ]


ARCHITECTURE = TEXTS[ROOT / "docs" / "architecture.md"]
STEP = re.compile(r"`([\w/]+\.py)`\s`([\w.]+)`")
"""A file and what is to be found in it: `streams/x.py` `Class.method`."""


def defined(path: Path) -> set[str]:
    """What a module defines: functions and classes, methods as ``Class.method``."""

    def names(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield from names(child, f"{prefix}{child.name}.")

    return set(names(ast.parse(path.read_text()), ""))


def test_the_architecture_has_each_module_of_streams_once() -> None:
    table = section(ARCHITECTURE, "Rooms").split("| room | modules |\n|---|---|\n")[1]
    rows = [re.findall(r"`(\w+)`", row) for row in table.split("\n\n")[0].splitlines()]
    assert {room: sorted(found) for room, *found in rows} == {
        room: modules(ROOT / "streams" / room) for room in rooms(ROOT / "streams")
    }


def test_what_the_architecture_names_is_there() -> None:
    named = STEP.findall(ARCHITECTURE)
    assert len(named) >= 60
    gone = [f"{file} {what}" for file, what in named if what not in defined(ROOT / file)]
    assert not gone, "docs/architecture.md names what is not there (any more)"


def test_each_guarantee_of_the_architecture_names_its_code_and_a_test() -> None:
    rows = section(ARCHITECTURE, "Where each guarantee is made").split("|---|---|---|\n")[1]
    for row in rows.strip().splitlines():
        assert STEP.search(row), row
        assert re.search(r"\[`[tT]est\w+`\]\(", row), row


def threads(path: Path) -> Iterator[str]:
    """How the names of the threads begin that a module makes."""
    tree = ast.parse(path.read_text())
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(("Thread", "Executor")):
            for keyword in call.keywords:
                if keyword.arg in ("name", "thread_name_prefix"):
                    yield beginning(keyword.value, tree)


def beginning(name: ast.expr, tree: ast.Module) -> str:
    """The constant part in front of a name, which may stand in a variable."""
    if isinstance(name, ast.Name):
        assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
        name = next(a.value for a in assigned if ast.unparse(a.targets[0]) == name.id)
    part = name.values[0] if isinstance(name, ast.JoinedStr) else name
    return str(ast.literal_eval(part))


def test_the_threads_of_a_worker_are_in_the_table() -> None:
    table = section(ARCHITECTURE, "Threads and event loops").split("|---|---|---|---|\n")[1]
    cells = [row.split("|")[1] for row in table.split("\n\n")[0].splitlines()]
    listed = {name for cell in cells for name in re.findall(r"`([a-z-]+)", cell)}
    sources = [*(ROOT / "streams").rglob("*.py"), *(TRUNKLINE / "kafka").glob("*.py")]
    sources += (ROOT / "connectors" / "sql").glob("*.py")
    made = {name for source in sources for name in threads(source)}
    assert listed == made
