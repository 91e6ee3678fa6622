"""``trunkline schemas``: Python types from Avro schemas, whether a change breaks somebody, and what
a registry lacks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trunkline.admin.subjects import compare_schemas, push_schemas
from trunkline.cli.environment import backbone_of, flows_of, load_checked
from trunkline.cli.options import EnvOption, FlowsArgument, JsonOption
from trunkline.cli.output import print_json
from trunkline.cli.plan import ForceOption, YesOption
from trunkline.cli.plan_output import difference_in_words
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
from trunkline.schemas.contracts.odcs import contracts_of
from trunkline.schemas.contracts.yaml_text import yaml_text
from trunkline.schemas.generate import command as generator
from trunkline.schemas.generate.project import schema_exceptions, schema_folders, schema_source
from trunkline.schemas.registry import registry_of
from trunkline.streams.plan.resources import Difference
from trunkline.streams.plan.saved import difference_as_json

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


@schemas_app.command()
def diff(flows: FlowsArgument = None, env: EnvOption = None, as_json: JsonOption = False) -> None:
    """Show what the registry lacks of flows' schemas.

    New subjects, new versions, and what speaks against them. Asks no Kafka, changes nothing.
    Exit code 2 if there is anything.
    """
    found = _compared(flows, env, ())
    if as_json:
        print_json([difference_as_json(one) for one in found])
    else:
        typer.echo(_in_words(found))
    raise typer.Exit(2 if found else 0)


@schemas_app.command()
def push(
    flows: FlowsArgument = None,
    env: EnvOption = None,
    force: ForceOption = None,
    yes: YesOption = False,
) -> None:
    """Register what the registry lacks of flows' schemas.

    For environments where workers may not (create = false). What is incompatible is refused, and
    then nothing is registered: exit code 1.
    """
    found = _compared(flows, env, force or ())
    typer.echo(_in_words(found))
    refused = any(one.refused for one in found)
    if found and not refused and not yes and not typer.confirm("register these?"):
        raise typer.Exit(1)
    for one in push_schemas(backbone_of(env), found):
        typer.echo("done: " + escaped(next(difference_in_words(one))))


@schemas_app.command()
def export(
    odcs: Annotated[
        Path, typer.Option(help="A folder for Open Data Contracts.", show_default=False)
    ],
    source: Annotated[
        Path | None, typer.Option(help="The folder of <domain>/<Type>.avsc.", show_default=False)
    ] = None,
    version: Annotated[str, typer.Option(help="The contracts' version.")] = "1.0.0",
) -> None:
    """Write a data contract for each domain of schemas.

    <domain>.odcs.yaml, of the Open Data Contract Standard 3.1.
    """
    contracts = contracts_of(schema_source(source), version)
    odcs.mkdir(parents=True, exist_ok=True)
    for name, contract in contracts.items():
        file = odcs / f"{name}.odcs.yaml"
        file.write_text(yaml_text(contract), "utf-8")
        typer.echo(f"{file} written")


def _compared(
    flows: Sequence[str] | None, env: str | None, force: Sequence[str]
) -> list[Difference]:
    loaded = [load_checked(flow) for flow in flows_of(flows)]
    return compare_schemas(backbone_of(env), loaded, force=force)


def _in_words(found: Sequence[Difference]) -> str:
    lines = [line for one in found for line in difference_in_words(one)]
    return escaped("\n".join(lines), keep="\n") or "the registry has what the flows write"


def _versions(against: str, types: ProjectTypes, level: str, env: str | None) -> Sequence[Version]:
    if against == "registry":
        with registry_of(backbone_of(env)) as registry:
            return versions_in_registry(registry, types.schemas)
    kind, _, ref = against.partition(":")
    if kind != "git" or not ref:
        raise ConfigurationError("--against is registry, or git: and a commit: git:origin/main")
    rules_of(level)
    return versions_in_git(types.source, ref, level)
