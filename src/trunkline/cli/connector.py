"""``trunkline connector``: begin a connector of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from trunkline.cli.scaffold import check_module, occupied, rendered, write_new
from trunkline.errors import ConfigurationError

connector_app = typer.Typer(name="connector", help="Connectors of yours.", no_args_is_help=True)

Kind = Literal["source", "push", "sink"]
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
    for file in occupied(into, files):
        raise ConfigurationError(f"{into / file} is there already: it is left as it is")
    for path in write_new(into, files):
        typer.echo(f"wrote {path}")
    typer.echo(f"now run: pytest {into / f'test_{name}.py'}")


def scaffold(name: str, kind: str) -> dict[str, str]:
    """The files of a new connector, by their names. Raises ConfigurationError."""
    check_module(name)
    if kind not in get_args(Kind):
        raise ConfigurationError(f"--kind {kind}: it is one of {', '.join(get_args(Kind))}")
    class_ = "".join(part.capitalize() for part in name.split("_")) + _CLASS[kind]
    words = {"__MODULE__": name, "__CLASS__": class_}
    return {
        f"{name}.py": rendered(f"{kind}.py.txt", words),
        f"test_{name}.py": rendered(f"test_{kind}.py.txt", words),
    }
