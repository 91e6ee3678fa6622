"""``trunkline destroy``: a flow is taken away, with all that it made in Kafka and the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trunkline.admin.removal import Removal, plan_removal, remove_flow
from trunkline.cli.environment import backbone_of, prepare
from trunkline.cli.options import EnvOption, JsonOption
from trunkline.cli.output import print_json
from trunkline.cli.plan import YesOption
from trunkline.cli.plan_output import difference_in_words
from trunkline.connectors.base import Source
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
    name, backbone, sources = _meant(flow, env or "")
    removal = plan_removal(backbone, name)
    if as_json and not yes:
        raise ConfigurationError("--json asks nobody: add --yes")
    if not as_json:
        typer.echo(_in_words(removal, sources))
    asks = (removal.differences or sources) and not yes
    if asks and not typer.confirm("remove these, for ever?"):
        raise typer.Exit(1)
    gone = []
    # First: while a worker that nobody sees reads from a slot, the server refuses this.
    for source in sources:
        source.drop()
        gone += [{"kind": "source", "name": trace} for trace in source.traces()]
        if not as_json:
            typer.echo(escaped("removed: " + ", ".join(source.traces())))
    for one in remove_flow(backbone, removal):
        gone.append({"kind": one.resource.kind, "name": one.resource.name})
        if not as_json:
            typer.echo(escaped(f"removed: {one.resource}"))
    if as_json:
        print_json({"removed": gone})


def _meant(flow: str, env: str) -> tuple[str, Backbone, list[Source]]:
    """The flow's name, its backbone, and those of its sources that leave something behind. They are
    built of its parameters; where it is named by its name, nobody knows of any."""
    if not (flow.endswith(".py") or Path(flow).is_file()):
        return flow, backbone_of(env or None), []
    loaded, params, backbone, _ = prepare(flow, env)
    built = [definition(params) for definition in loaded.sources]
    leaving = [source for source in built if isinstance(source, Source) and source.traces()]
    return loaded.name, backbone, leaving


def _in_words(removal: Removal, sources: list[Source]) -> str:
    lines = [f"- {trace}" for source in sources for trace in source.traces()]
    for one in removal.differences:
        holds = removal.holds.get(one.resource, "")
        lines.append(next(difference_in_words(one)) + (f": holds {holds}" if holds else ""))
    nothing = f"there is nothing of a flow {removal.flow!r}"
    return escaped("\n".join(lines) or nothing, keep="\n")
