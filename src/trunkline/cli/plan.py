"""``trunkline plan`` and ``apply``: what flows need and a cluster lacks, and making it so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trunkline.admin.planning import apply_plan, plan_flows
from trunkline.cli.environment import backbone_of, flows_of, load_checked
from trunkline.cli.options import EnvOption, FlowsArgument, JsonOption
from trunkline.cli.output import dumped, print_json
from trunkline.cli.plan_output import (
    counts_in_words,
    difference_in_words,
    plan_as_json,
    plan_in_words,
)
from trunkline.errors import ConfigurationError
from trunkline.masking import escaped
from trunkline.streams.plan.resources import Plan
from trunkline.streams.plan.saved import difference_as_json, from_json, to_json

CHANGES = 2
"""The exit code of ``plan`` and ``diff`` where something differs."""

PruneOption = Annotated[
    bool, typer.Option("--prune", help="Also remove what no flow of these has any more.")
]
ForceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Do what is refused, as partitions:orders.x; repeatable."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def plan(
    flows: FlowsArgument = None,
    env: EnvOption = None,
    prune: PruneOption = False,
    force: ForceOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the plan, for apply FILE.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between flows and their cluster.

    Topics, settings, schemas. Changes nothing. Exit code 0: nothing is to be done; 2: there are
    differences; 1: an error.
    """
    made = _planned(flows, env, prune, force)
    if out is not None:
        _save(made, out)
    if as_json:
        print_json(plan_as_json(made))
    else:
        typer.echo(plan_in_words(made))
    if made.differences:
        raise typer.Exit(CHANGES)


def apply(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FLOWS|FILE",
            help="Flows, by default the project's; or one file of a saved plan.",
            show_default=False,
        ),
    ] = None,
    env: EnvOption = None,
    prune: PruneOption = False,
    force: ForceOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make what flows need: topics, settings, schemas. Run again, it does nothing; killed, it goes
    on where it was.

    A saved plan is applied exactly, and not at all if the cluster has changed since. What would
    break the order of events or lose any is refused, and then nothing is done: exit code 1.
    """
    saved = _saved(targets)
    if saved is not None and (prune or force):
        raise ConfigurationError("--prune and --force belong to the plan: give them to `plan`")
    made = saved or _planned(targets, env, prune, force)
    backbone = backbone_of(env or made.environment or None)
    if not as_json:
        typer.echo(plan_in_words(made))
    # A plan that was saved has been looked at; one that refuses something says so, unasked.
    asks = made.differences and not made.refusals and saved is None and not yes
    if asks and not as_json and not typer.confirm(f"{counts_in_words(made)}: apply?"):
        raise typer.Exit(1)
    if asks and as_json:
        raise ConfigurationError("--json asks nobody: add --yes")
    done = []
    try:
        for one in apply_plan(backbone, made):
            done.append(difference_as_json(one))
            if not as_json:
                typer.echo("done: " + escaped(next(difference_in_words(one))))
    finally:
        if as_json:  # also where an error ends it: what is done is done
            print_json({"done": done, "cluster": made.cluster})


def _planned(
    targets: list[str] | None, env: str | None, prune: bool, force: list[str] | None
) -> Plan:
    flows = [load_checked(target) for target in flows_of(targets)]
    backbone = backbone_of(env)
    return plan_flows(backbone, flows, environment=env or "", prune=prune, force=force or ())


def _save(made: Plan, out: Path) -> None:
    try:
        out.write_text(dumped(to_json(made)) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be written: {error.strerror}") from None


def _saved(targets: list[str] | None) -> Plan | None:
    """The plan of a file, if that is what is to be applied."""
    first = Path(targets[0]) if targets else Path()
    if len(targets or ()) > 1 or first.suffix == ".py" or not first.is_file():
        return None
    try:
        return from_json(first.read_text(encoding="utf-8"), str(first))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{first} cannot be read: {error}") from None
