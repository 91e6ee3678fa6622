"""Rules of the house that are more than a line, as functions of source texts.

Each takes what it judges, so that a test can give it a breach that is made up.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from trunkline import headers

HEADER = re.compile(
    rf"\b({'|'.join(v for n, v in vars(headers).items() if n.startswith(('CE_', 'TL_')))})\b"
)
"""The names of headers that are Trunkline's or CloudEvents'."""

TOPIC = re.compile(r"(^|[\w}])\.(inbox|retry|dlq|calls|control|audit|positions|route)(?![\w(])")
"""What the names of topics and groups end with; ``@flow.route(…)`` in a message is none."""

CONTROL_KEY = re.compile(r"^(destination|status|alert|replay|dlq|release)/")
"""What the keys of the control topic begin with."""


def spelled(source: str, pattern: re.Pattern[str]) -> list[str]:
    """Where a source has a string, or the name of an argument, in which the pattern is found.

    Docstrings and texts below a name, which say what it is, may spell what they like.
    """
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                pass
            case ast.keyword(arg=str(text)) | ast.arg(arg=text):
                pass
            case _:
                continue
        if pattern.search(text):
            found.append(f"line {node.lineno}: {text!r}")
    return found


def public_types(source: str) -> Iterator[str]:
    """The public classes and type aliases of a module; a ``TypeVar`` is neither."""
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not _is_call(value):
                pass
            case _:
                continue
        if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name):
            yield name


def _is_call(value: ast.expr) -> bool:
    return isinstance(value, ast.Call)


def defined_twice(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """The public types that several of these modules define, with the modules."""
    places = defaultdict[str, list[str]](list)
    for module, source in sources.items():
        for name in public_types(source):
            places[name].append(module)
    return {name: modules for name, modules in places.items() if len(modules) > 1}


def sentences(docstring: str | None) -> int:
    """How many sentences a text has: each ends with a point, and the next one begins anew."""
    return len(re.findall(r"[.:!?](?=\s+[\w`\"(]|\s*$)", docstring or ""))


def without_tests(rooms: Iterable[str], tests: Iterable[str]) -> set[str]:
    """The rooms that no test is named after.

    ``rooms``: by their path, as ``streams/route`` or ``connectors/http``. ``tests``: the test
    files below ``tests/unit``, as ``route/test_routing.py``. A connector shares one folder of tests
    with the others: there the file bears its name.
    """
    files = list(tests)

    def belongs(file: str, room: str) -> bool:
        parent, _, name = room.rpartition("/")
        prefix = f"connectors/test_{name}" if parent == "connectors" else f"{name}/test_"
        return file.startswith(prefix)

    return {room for room in rooms if not any(belongs(file, room) for file in files)}
