"""``trunkline doctor``: what is wrong around flows, and how to mend it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from trunkline.admin.doctor import Diagnosis, examine
from trunkline.cli.acls import roles_of
from trunkline.cli.environment import backbone_from, file_of
from trunkline.cli.options import EnvOption, JsonOption
from trunkline.masking import escaped
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.loading import load
from trunkline.streams.flow.problems import FlowError
from trunkline.streams.plan.acls import ROLES, WORKER_ROLES


def doctor(
    flows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FLOW]...",
            help="Flow files, or modules that hold a flow.",
            show_default=False,
        ),
    ] = None,
    env: EnvOption = None,
    role: Annotated[
        str,
        typer.Option(help=f"Whose rights on Kafka: {', '.join(ROLES)}; several with commas."),
    ] = ",".join(WORKER_ROLES),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="A worker's health pages: is that port free?")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Find what is wrong, and how to mend it.

    Kafka, registry, rights, clocks, topics; with flows also their systems. Changes nothing there.
    Each line is ok, a warning or wrong. Exit code 1 if anything is wrong.
    """
    roles, file = roles_of(role), file_of(env)
    backbone = backbone_from(file)
    loaded, found = _loaded(flows or [])
    looks = examine(backbone, loaded, file, environment=env or "", roles=roles, port=port)
    for one in [*found]:
        _print(one, as_json=as_json)
    for one in looks:
        found.append(one)
        _print(one, as_json=as_json)
    wrong, warnings = (sum(d.verdict == kind for d in found) for kind in ("wrong", "warning"))
    if not as_json:
        typer.echo(f"\n{wrong} wrong, {warnings} warnings, of {len(found)} things")
    if wrong:
        raise typer.Exit(1)


def _loaded(targets: list[str]) -> tuple[list[Flow[Any]], list[Diagnosis]]:
    """The flows that can be loaded, and why the others cannot."""
    flows: list[Flow[Any]] = []
    found: list[Diagnosis] = []
    for target in dict.fromkeys(targets):
        try:
            flows.append(load(target))
        except FlowError as error:
            found.append(Diagnosis(target, str(error.problem), "wrong"))
    return flows, found


def _print(one: Diagnosis, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(one), ensure_ascii=False))
        return
    for line in in_words(one):
        typer.echo(escaped(line))


def in_words(one: Diagnosis) -> Iterator[str]:
    """A diagnosis, and below it how to mend what it tells."""
    yield f"{one.verdict:8}{one.area}: {one.what}"
    if one.mend and one.verdict != "ok":
        for line in one.mend.splitlines():
            yield f"{'':8}mend it: {line}"
