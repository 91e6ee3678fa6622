"""Rules of the house that a reader relies on, checked on every source file."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import trunkline

ROOT = Path(__file__).parents[3]
FILE_LINES = 400
FUNCTION_LINES = 60
GENERATED = "made by `trunkline schemas generate`"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


SHIPPED = sources("streams", "connectors", "src/trunkline")
ALL = [*SHIPPED, *sources("examples", "benchmarks", "tests")]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def is_generated(path: Path) -> bool:
    return GENERATED in path.read_text()[:200]


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_file_can_be_read_in_one_go(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines < FILE_LINES or is_generated(path), f"{lines} lines: one idea a module"


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = {
        f"{node.name} in line {node.lineno}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, Function) and length(node) >= FUNCTION_LINES
    }
    assert not long


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_module_says_what_its_idea_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_what_is_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    silent = [f"{node.name} in line {node.lineno}" for node in undocumented(tree)]
    assert not silent


def length(function: Function) -> int:
    """The lines of a function without its docstring: contracts may be as long as they must."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return lines - ((first.end_lineno or 0) - first.lineno + 1 if documented else 0)


def undocumented(node: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Public classes, functions and methods without a docstring."""
    overrides = isinstance(node, ast.ClassDef) and bool(node.bases)
    for child in node.body:
        if not isinstance(child, Function | ast.ClassDef) or child.name.startswith(("_", "test_")):
            continue
        said_by_its_base = overrides and isinstance(child, Function)
        if ast.get_docstring(child) is None and not said_by_its_base and not is_stub(child):
            yield child
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child)


def is_stub(node: Function | ast.ClassDef) -> bool:
    """``...`` alone: an overload or a protocol's method, which its neighbours explain."""
    return isinstance(node, Function) and ast.unparse(node.body[-1]) == "..."


def test_the_public_face_is_whole_and_sorted() -> None:
    assert list(trunkline.__all__) == sorted(trunkline.__all__)
    shown = {
        name
        for name, member in vars(trunkline).items()
        if not name.startswith("_") and not inspect.ismodule(member)
    }
    assert shown == set(trunkline.__all__) - {"__version__"}


@pytest.mark.parametrize("member", sorted(set(trunkline.__all__) - {"Change", "__version__"}))
def test_each_public_name_is_documented(member: str) -> None:
    documented = inspect.getdoc(getattr(trunkline, member))
    assert documented, f"trunkline.{member} has no docstring"
    flows = (ROOT / "docs" / "flows.md").read_text()
    assert f"`{member}" in flows, f"docs/flows.md does not mention `{member}`"


def test_the_version_is_that_of_the_distribution() -> None:
    assert version("trunkline") == trunkline.__version__
