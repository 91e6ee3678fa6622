"""``trunkline check``: every mistake in flows that can be found without connecting anywhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trunkline import project
from trunkline.cli.environment import ENVIRONMENTS, flows_of
from trunkline.cli.options import FlowsArgument, named
from trunkline.streams.check.environment import check_environment
from trunkline.streams.check.flows import check as check_flow
from trunkline.streams.check.flows import check_together
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.loading import load
from trunkline.streams.flow.problems import FlowError, Problem


def check(
    flows: FlowsArgument = None,
    env: Annotated[
        str | None,
        typer.Option(
            help="Check environments/<ENV>.toml too, and the connectors built of it.",
            callback=named,
        ),
    ] = None,
) -> None:
    """Find mistakes in flows without connecting anywhere. Exit code 1 if there are any."""
    loaded, problems = _loaded(flows_of(flows))
    for flow in loaded:
        problems += check_flow(flow)
    problems += [
        *check_together(loaded),
        *check_environment(loaded, env, root=project.root() / ENVIRONMENTS),
    ]
    problems.sort(key=lambda problem: problem.place)
    for problem in problems:
        typer.echo(str(problem), err=True)
    errors = sum(not problem.warning for problem in problems)
    if errors:
        typer.echo(f"{errors} problem{'s' if errors > 1 else ''} found", err=True)
        raise typer.Exit(1)
    for flow in loaded:
        typer.echo(_summary(flow))


def _loaded(targets: list[str]) -> tuple[list[Flow[Any]], list[Problem]]:
    """The flows that can be loaded, and why the others cannot."""
    flows: list[Flow[Any]] = []
    problems: list[Problem] = []
    for target in targets:
        try:
            flows.append(load(target))
        except FlowError as error:
            problems.append(error.problem)
    return flows, problems


def _summary(flow: Flow[Any]) -> str:
    counts = ", ".join(
        f"{len(parts)} {kind}{'' if len(parts) == 1 else 's'}"
        for kind, parts in (
            ("source", flow.sources),
            ("topic", flow.topics),
            ("route", flow.routes),
            ("destination", flow.destinations),
        )
    )
    return f"{flow.name}: ok ({counts})"
