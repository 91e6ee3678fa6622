"""``trunkline schemas``: Python types from Avro schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trunkline.schemas.generate import command as generator

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
    source: Annotated[Path, typer.Option(help="The folder of <domain>/<Type>.avsc.")] = Path(
        "avro_schemas"
    ),
    into: Annotated[Path, typer.Option(help="The folder of the modules <domain>.py.")] = Path(
        "src/trunkline/schemas"
    ),
) -> None:
    """Write a Python module of TypedDicts for each domain of Avro schemas."""
    files = (generator.stale if check else generator.generate)(source, into)
    for file in files:
        typer.echo(f"{file} {'is stale: run `trunkline schemas generate`' if check else 'written'}")
    raise typer.Exit(1 if check and files else 0)
