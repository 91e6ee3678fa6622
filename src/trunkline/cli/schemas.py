"""``trunkline schemas``: Python types from Avro schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trunkline.schemas.generate import command as generator
from trunkline.schemas.generate.project import schema_folders

schemas_app = typer.Typer(
    name="schemas", help="Python types from Avro schemas.", no_args_is_help=True
)


@schemas_app.callback()
def _group() -> None:
    """Python types from Avro schemas."""


@schemas_app.command()
def generate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 naming the stale files.")
    ] = False,
    source: Annotated[
        Path | None, typer.Option(help="The folder of <domain>/<Type>.avsc.", show_default=False)
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="The folder of the modules <domain>.py.", show_default=False)
    ] = None,
) -> None:
    """Write Python types for each domain of Avro schemas.

    A module of TypedDicts each. The folders stand in [tool.trunkline.schemas] of the nearest
    pyproject.toml, or are given.
    """
    folders = schema_folders(source, into)
    files = (generator.stale if check else generator.generate)(folders.source, folders.into)
    given = {"--source": source, "--into": into}
    again = "".join(f" {option} {path}" for option, path in given.items() if path is not None)
    for file in files:
        told = f"is stale: run `trunkline schemas generate{again}`" if check else "written"
        typer.echo(f"{file} {told}")
    raise typer.Exit(1 if check and files else 0)
