"""Rules of the house that a reader relies on, checked on every source file."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import trunkline
from house_rules import (
    CONTROL_KEY,
    HEADER,
    TOPIC,
    defined_twice,
    sentences,
    spelled,
    without_tests,
)

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


# Names: each is spelled in one place, and says one thing


NAMES = [
    (HEADER, {"src/trunkline/headers.py"}),
    (TOPIC, {"src/trunkline/naming.py"}),
    # The topic of limits has keys of its own: some of them, too, begin with "destination/".
    (CONTROL_KEY, {"streams/control/records.py", "streams/quota/client.py"}),
]


@pytest.mark.parametrize(("pattern", "homes"), NAMES, ids=["headers", "topics", "control keys"])
def test_a_name_that_others_rely_on_is_spelled_in_one_place(
    pattern: re.Pattern[str], homes: set[str]
) -> None:
    found = {name(p): spelled(p.read_text(), pattern) for p in SHIPPED if name(p) not in homes}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("pattern", "breach"),
    [
        (HEADER, 'event.header("tl_seq")'),
        (HEADER, 'f"no ce_type in {x}"'),
        (HEADER, "move(tl_attempt=1)"),
        (HEADER, "def move(tl_attempt): pass"),
        (TOPIC, 'f"{flow}.{name}.dlq"'),
        (TOPIC, 'topic.partition(".retry.")'),
        (TOPIC, 'group = "orders.route"'),
        (CONTROL_KEY, 'f"replay/{id}"'),
    ],
)
def test_a_name_that_is_spelled_elsewhere_is_found(pattern: re.Pattern[str], breach: str) -> None:
    assert spelled(breach, pattern)


@pytest.mark.parametrize(
    "source",
    [
        '"""Header tl_seq; topic orders.erp.inbox; key replay/7."""',
        'X = 1\n"""As tl_seq."""',
        '"tl_key"',
        '"add @flow.route(…, to=erp)"',
        '"an event in the inbox"',
        "flow.control, naming.dlq",
    ],
)
def test_a_name_in_prose_is_none(source: str) -> None:
    assert not any(spelled(source, pattern) for pattern, _ in NAMES)


def test_no_two_types_of_streams_have_one_name() -> None:
    assert not defined_twice({name(p): p.read_text() for p in sources("streams")})


def test_a_name_that_two_modules_define_is_found() -> None:
    modules = {
        "a": "class Request: ...\nState = Literal[1]\nT = TypeVar('T')\nMOST = 1",
        "b": "class Request(Base): ...\nState = Literal[2]\nT = TypeVar('T')\nMOST = 2",
        "c": "class _Request: ...\nclass Requests: ...\ndef f():\n    class State: ...",
    }
    assert defined_twice(modules) == {"Request": ["a", "b"], "State": ["a", "b"]}


# Rooms: each says what it is for, and has tests


def rooms() -> list[str]:
    """The rooms of streams and connectors, and those beside them that know Kafka."""
    inner = [p.parent for f in ("streams", "connectors") for p in ROOT.glob(f"{f}/*/__init__.py")]
    outer = [ROOT / "src/trunkline" / name for name in ("kafka", "admin", "scaler")]
    return sorted(name(path) for path in [*inner, *outer])


@pytest.mark.parametrize("room", rooms())
def test_a_room_says_what_it_is_for(room: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
    assert sentences(docstring) >= 2, "what comes in, what goes out, who calls, on which thread"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, 0),
        ("route.", 1),
        ("Kafka and e.g.its clients.", 1),
        ("What is published comes in. Messages go out.", 2),
        ("Events come in.\n\n``router`` is pure.", 2),
    ],
)
def test_sentences_are_counted(text: str | None, number: int) -> None:
    assert sentences(text) == number


def test_each_room_has_tests() -> None:
    unit = ROOT / "tests" / "unit"
    tests = [path.relative_to(unit).as_posix() for path in unit.rglob("test_*.py")]
    assert not without_tests(rooms(), tests), "tests/unit has a folder of each room's name"


def test_a_room_without_tests_is_found() -> None:
    tests = ["route/test_routing.py", "connectors/test_http_answers.py", "retry/conftest.py"]
    named = ["streams/route", "streams/retry", "connectors/http", "connectors/sql"]
    assert without_tests(named, tests) == {"streams/retry", "connectors/sql"}


# What users import


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
