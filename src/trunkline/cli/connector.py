"""``trunkline connector``: begin a connector of your own."""

from __future__ import annotations

import keyword
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from trunkline.errors import ConfigurationError

connector_app = typer.Typer(name="connector", help="Connectors of yours.", no_args_is_help=True)

Kind = Literal["source", "push", "sink"]
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = {"trunkline", "pytest"}
_CLASS = {"source": "Source", "push": "Receiver", "sink": "Sink"}


@connector_app.callback()
def _group() -> None:
    """Connectors of yours."""


@connector_app.command()
def new(
    name: Annotated[str, typer.Argument(help="The module's name, as legacy_erp.")],
    kind: Annotated[
        str, typer.Option(help="source: it is read; push: it calls us; sink: it is written to.")
    ],
    into: Annotated[Path, typer.Option(help="The folder for both files.")] = Path(),
) -> None:
    """Write a connector that works, and its test.

    The test is the acceptance suite. Both are green as they are: replace their system by yours.
    """
    files = scaffold(name, kind)
    for file in files:
        if (into / file).exists():
            raise ConfigurationError(f"{into / file} is there already: it is left as it is")
    into.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (into / file).write_text(text, encoding="utf-8")
        typer.echo(f"wrote {into / file}")
    typer.echo(f"now run: pytest {into / f'test_{name}.py'}")


def scaffold(name: str, kind: str) -> dict[str, str]:
    """The files of a new connector, by their names. Raises ConfigurationError."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigurationError(f"{name!r} is no name of a module: write one as legacy_erp")
    if name in sys.stdlib_module_names or name in _TAKEN:
        raise ConfigurationError(
            f"{name!r} is a module already, which yours would hide: name it otherwise, as my_{name}"
        )
    if kind not in get_args(Kind):
        raise ConfigurationError(f"--kind {kind}: it is one of {', '.join(get_args(Kind))}")
    class_ = "".join(part.capitalize() for part in name.split("_")) + _CLASS[kind]
    folder = resources.files("trunkline.cli").joinpath("templates")
    return {
        file: folder.joinpath(template)
        .read_text("utf-8")
        .replace("__MODULE__", name)
        .replace("__CLASS__", class_)
        for file, template in (
            (f"{name}.py", f"{kind}.py.txt"),
            (f"test_{name}.py", f"test_{kind}.py.txt"),
        )
    }
