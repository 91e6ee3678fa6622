"""``trunkline schemas``: Python types from Avro schemas, and whether a change breaks somebody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trunkline.cli.environment import backbone_of
from trunkline.cli.options import EnvOption
from trunkline.errors import ConfigurationError
from trunkline.masking import escaped
from trunkline.schemas.compatibility.exceptions import exceptions_of
from trunkline.schemas.compatibility.formats import FORMATS
from trunkline.schemas.compatibility.project import (
    ProjectTypes,
    Version,
    rules_of,
    versions_in_git,
    versions_in_registry,
)
from trunkline.schemas.generate import command as generator
from trunkline.schemas.generate.project import schema_exceptions, schema_folders, schema_source
from trunkline.schemas.registry import registry_of

schemas_app = typer.Typer(
    name="schemas",
    help="Python types from Avro schemas; does a change break somebody?",
    no_args_is_help=True,
)


@schemas_app.callback()
def _group() -> None:
    """Python types from Avro schemas; does a change break somebody?"""


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


@schemas_app.command()
def check(
    against: Annotated[
        str | None,
        typer.Option(help="git:REF, as git:origin/main, or registry.", show_default=False),
    ] = None,
    env: EnvOption = None,
    source: Annotated[
        Path | None, typer.Option(help="The folder of <domain>/<Type>.avsc.", show_default=False)
    ] = None,
    level: Annotated[
        str, typer.Option(help="With git: BACKWARD, FORWARD, FULL or NONE; a registry has its own.")
    ] = "FULL",
    form: Annotated[
        str, typer.Option("--format", help="text, json, junit, github or gitlab.")
    ] = "text",
) -> None:
    """Say what is wrong with schemas, and whom a change breaks.

    All of it at once, with what mends it; exit code 2 if there is anything. Without --against the
    schemas and their rules alone. Exceptions stand in pyproject.toml.
    """
    if form not in FORMATS:
        raise ConfigurationError(f"--format is {', '.join(FORMATS)}, not {form!r}")
    exceptions = exceptions_of(*schema_exceptions(), datetime.now(UTC).date())
    types = ProjectTypes(schema_source(source))
    versions = _versions(against, types, level, env) if against is not None else ()
    found = types.findings(versions, exceptions)
    told = FORMATS[form](found)
    if form == "text":
        nothing = f"nothing breaks ({len(versions)} compared)"
        if against is None:
            nothing = f"nothing is wrong with {len(types.schemas)} types"
        told = escaped(told, keep="\n") if found else nothing
    typer.echo(told)
    raise typer.Exit(2 if any(not finding.exception for finding in found) else 0)


def _versions(against: str, types: ProjectTypes, level: str, env: str | None) -> Sequence[Version]:
    if against == "registry":
        with registry_of(backbone_of(env)) as registry:
            return versions_in_registry(registry, types.schemas)
    kind, _, ref = against.partition(":")
    if kind != "git" or not ref:
        raise ConfigurationError("--against is registry, or git: and a commit: git:origin/main")
    rules_of(level)
    return versions_in_git(types.source, ref, level)
