"""A user's project: the folder of its ``pyproject.toml``, from whichever folder of it one asks.

    [tool.trunkline]
    flows = ["flows/*.py"]

``root`` is where ``environments/``, ``flows/``, ``avro_schemas/`` and ``.trunkline/`` are.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from trunkline.errors import ConfigurationError
from trunkline.toml_text import tables_of

TABLE = "tool.trunkline"
KEYS = ("flows", "schemas")


def root() -> Path:
    """The project's folder, as it is reached from the current one: that of the nearest
    ``pyproject.toml``, if it has a table ``[tool.trunkline]``; else the current folder.

    Raises ConfigurationError for a ``pyproject.toml`` that cannot be read, or that says what
    nobody reads.
    """
    file = nearest(Path.cwd())
    return reached(file.parent) if file is not None and _said(file) else Path()


def flow_files() -> list[str]:
    """The files that ``flows`` of the project names, each once, sorted.

    Raises ConfigurationError where no project says ``flows``, or a pattern of it fits no file.
    """
    file = nearest(Path.cwd())
    table = {} if file is None else _said(file)
    if file is None or "flows" not in table:
        where = "a pyproject.toml" if file is None else told(file)
        raise ConfigurationError(
            "which flows? Name their files, or once and for all in "
            f'{where}: [{TABLE}] flows = ["flows/*.py"]'
        )
    patterns = table["flows"]
    if not isinstance(patterns, list) or not all(isinstance(one, str) and one for one in patterns):
        raise ConfigurationError(f"{told(file)}: flows of [{TABLE}] is a list of files or patterns")
    found = {path for pattern in patterns for path in _fitting(file, pattern)}
    return sorted(told(path) for path in found)


def nearest(start: Path) -> Path | None:
    """The nearest ``pyproject.toml``, from ``start`` upwards."""
    start = start.resolve()
    places = (folder / "pyproject.toml" for folder in (start, *start.parents))
    return next((place for place in places if place.is_file()), None)


def table_of(file: Path, name: str) -> dict[str, Any]:
    """The table of a dotted name in a ``pyproject.toml``; empty if there is none.

    Raises ConfigurationError for a file that cannot be read, and for what is no table.
    """
    try:
        table: Any = tables_of(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{told(file)} cannot be read: {error}") from None
    for part in name.split("."):
        table = table.get(part, {}) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        raise ConfigurationError(f"{told(file)}: [{name}] is no table")
    return table


def told(path: Path) -> str:
    """A path as it is reached from the current folder, for a message or a command."""
    try:
        return os.path.relpath(path)
    except ValueError:  # on another drive of Windows
        return str(path)


def reached(path: Path) -> Path:
    """As ``told``, as a path."""
    return Path(told(path))


def _fitting(file: Path, pattern: str) -> list[Path]:
    try:
        found = [path for path in file.parent.glob(pattern) if path.is_file()]
    except (NotImplementedError, ValueError) as error:  # an absolute pattern; ** beside letters
        raise ConfigurationError(f"{told(file)}: flows of [{TABLE}]: {pattern}: {error}") from None
    if not found:
        raise ConfigurationError(f"{told(file)}: flows of [{TABLE}]: no file is as {pattern}")
    return found


def _said(file: Path) -> dict[str, Any]:
    """What the file says of the project. Raises ConfigurationError for a key that nobody reads."""
    table = table_of(file, TABLE)
    for name in table:
        if name not in KEYS:
            near = difflib.get_close_matches(name, KEYS, 1)
            meant = f": did you mean {near[0]}?" if near else f"; it has {' and '.join(KEYS)}"
            raise ConfigurationError(
                f"{told(file)}: {name!r} of [{TABLE}] is read by nobody{meant}"
            )
    return table
