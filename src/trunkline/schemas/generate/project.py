"""Where a project has its schemas and the types made of them: ``[tool.trunkline.schemas]`` in its
``pyproject.toml``.

    [tool.trunkline.schemas]
    source = "avro_schemas"
    into = "src/acme/schemas"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import ConfigurationError
from trunkline.project import nearest, reached, table_of, told

TABLE = "tool.trunkline.schemas"
KEYS = ("source", "into")
EXCEPTIONS = "exceptions"
"""What ``trunkline schemas check`` lets through."""
DEFAULT_SOURCE = Path("avro_schemas")
"""In the folder of ``pyproject.toml``; without such a file in the current one."""


@dataclass(frozen=True, slots=True)
class SchemaFolders:
    """``source``: of ``<domain>/<Type>.avsc``; ``into``: of the modules ``<domain>.py``."""

    source: Path
    into: Path


def schema_folders(
    source: Path | None, into: Path | None, *, start: Path | None = None
) -> SchemaFolders:
    """The folders as they are given, else as the nearest ``pyproject.toml`` says, from ``start``
    (the current folder) upwards; its paths are relative to its own folder.

    Raises ConfigurationError where nobody says ``into``, a folder is not there, or the file has a
    mistake.
    """
    project = nearest(start or Path.cwd())
    said = {} if project is None else _said(project)
    if into is None and "into" not in said:
        raise ConfigurationError(
            "where should the types go? Say --into FOLDER, or once and for all in "
            f'{told(project) if project else "a pyproject.toml"}: [{TABLE}] into = "src/…/schemas"'
        )
    found = SchemaFolders(source or _source(project, said), into or said["into"])
    if not found.into.is_dir():
        whence = f" (into of [{TABLE}] in {told(project)})" if into is None and project else ""
        raise ConfigurationError(f"there is no folder {found.into}{whence}: make it first")
    return found


def schema_source(source: Path | None, *, start: Path | None = None) -> Path:
    """The folder of schemas alone, found as ``schema_folders`` finds it. Raises as it does."""
    project = nearest(start or Path.cwd())
    return source or _source(project, {} if project is None else _said(project))


def schema_exceptions(*, start: Path | None = None) -> tuple[Any, str]:
    """The entries of ``exceptions`` as they stand in the nearest file, and the file's name. Raises
    ConfigurationError for a file that cannot be read."""
    project = nearest(start or Path.cwd())
    if project is None:
        return [], ""
    return table_of(project, TABLE).get(EXCEPTIONS, []), told(project)


def _source(project: Path | None, said: dict[str, Path]) -> Path:
    return said.get("source") or _beside(project, DEFAULT_SOURCE)


def _said(project: Path) -> dict[str, Path]:
    """The paths that the file names, as they are to be reached from the current folder."""
    table = table_of(project, TABLE)
    for name, value in table.items():
        if name not in (*KEYS, EXCEPTIONS):
            known = ", ".join(KEYS)
            raise ConfigurationError(
                f"{told(project)}: [{TABLE}] has {known} and {EXCEPTIONS}, no {name!r}"
            )
        if name in KEYS and not (isinstance(value, str) and value):
            raise ConfigurationError(f"{told(project)}: {name} of [{TABLE}] names no folder")
    return {name: _beside(project, Path(table[name])) for name in KEYS if name in table}


def _beside(project: Path | None, path: Path) -> Path:
    return path if project is None else reached(project.parent / path)
