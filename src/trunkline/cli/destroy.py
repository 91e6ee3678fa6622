"""``trunkline destroy``: a flow is taken away, with all that it made in Kafka and the registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from trunkline.admin.removal import Removal, plan_removal, remove_flow
from trunkline.admin.sources import last_position
from trunkline.admin.targets import Target
from trunkline.cli.environment import backbone_of, prepare
from trunkline.cli.options import EnvOption, JsonOption
from trunkline.cli.output import print_json
from trunkline.cli.plan import YesOption
from trunkline.cli.plan_output import difference_in_words
from trunkline.connectors.base import Position, Source
from trunkline.errors import ConfigurationError
from trunkline.masking import escaped
from trunkline.params import Backbone


def destroy(
    flow: Annotated[
        str,
        typer.Argument(help="The flow's file, or its name if that is gone.", show_default=False),
    ],
    env: EnvOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take a flow away: its topics, groups and subjects.

    Topics go with all that is in them. Each is named first. Its workers must be stopped.
    Canonical topics stay: others may read them.
    With the flow's file also what its sources have made in their systems, as a replication slot.
    """
    name, backbone, built = _meant(flow, env or "")
    removal = plan_removal(backbone, name)
    stood = {its_name: _stood(backbone, removal, its_name) for its_name in built}
    sources = [(built[its_name], position) for its_name, position in stood.items() if position]
    if as_json and not yes:
        raise ConfigurationError("--json asks nobody: add --yes")
    if not as_json:
        typer.echo(_in_words(removal, sources))
        for its_name in [its_name for its_name, position in stood.items() if not position]:
            kept = ", ".join(built[its_name].traces())
            typer.echo(
                escaped(f"source {its_name} has no position here, so {kept} stays if it is there")
            )
    asks = (removal.differences or sources) and not yes
    if asks and not typer.confirm("remove these, for ever?"):
        raise typer.Exit(1)
    gone: list[dict[str, str]] = []
    try:
        for some in _removed(backbone, removal, sources):
            gone += some
            if not as_json:
                typer.echo(escaped(f"removed: {_together(some)}"))
    finally:
        if as_json:  # also where an error ends it: what is gone is gone
            print_json({"removed": gone})


def _removed(
    backbone: Backbone, removal: Removal, sources: list[tuple[Source, Position]]
) -> Iterator[list[dict[str, str]]]:
    # First: while a worker that nobody sees reads from a slot, the server refuses this.
    for source, position in sources:
        source.drop(position)
        yield [{"kind": "source", "name": trace} for trace in source.traces(position)]
    for one in remove_flow(backbone, removal):
        yield [{"kind": one.resource.kind, "name": one.resource.name}]


def _together(some: list[dict[str, str]]) -> str:
    """A source's traces say themselves what they are."""
    return ", ".join(
        one["name"] if one["kind"] == "source" else f"{one['kind']} {one['name']}" for one in some
    )


def _meant(flow: str, env: str) -> tuple[str, Backbone, dict[str, Source]]:
    """The flow's name, its backbone, and those of its sources that leave something behind. They are
    built of its parameters; where it is named by its name, nobody knows of any."""
    if not (flow.endswith(".py") or Path(flow).is_file()):
        return flow, backbone_of(env or None), {}
    loaded, params, backbone, _ = prepare(flow, env)
    built = {definition.name: definition(params) for definition in loaded.sources}
    leaving = {n: s for n, s in built.items() if isinstance(s, Source) and s.traces()}
    return loaded.name, backbone, leaving


def _stood(backbone: Backbone, removal: Removal, source: str) -> Position | None:
    """Where a source stood last, which tells what it has made. Without that nothing is its own: a
    slot that is named after the tables may be another flow's, which reads the same ones, and a slot
    that was named after the tables stays with its name when they are others."""
    if source not in removal.sources:
        return None
    position, former, _ = last_position(backbone, Target(removal.flow, source))
    return position or former


def _in_words(removal: Removal, sources: list[tuple[Source, Position]]) -> str:
    lines = [f"- {trace}" for source, position in sources for trace in source.traces(position)]
    for one in removal.differences:
        holds = removal.holds.get(one.resource, "")
        lines.append(next(difference_in_words(one)) + (f": holds {holds}" if holds else ""))
    nothing = f"there is nothing of a flow {removal.flow!r}"
    return escaped("\n".join(lines) or nothing, keep="\n")
