"""``trunkline diff``: what of flows differs between two environments."""

from __future__ import annotations

from typing import Annotated

import typer

from trunkline.admin.planning import compare_clusters
from trunkline.cli.environment import backbone_of, flows_of, load_checked
from trunkline.cli.options import FlowsArgument, JsonOption
from trunkline.cli.output import print_json
from trunkline.cli.plan import CHANGES
from trunkline.cli.plan_output import difference_in_words
from trunkline.errors import ConfigurationError
from trunkline.masking import escaped
from trunkline.streams.plan.saved import difference_as_json


def diff(
    env: Annotated[
        list[str], typer.Option(help="environments/<ENV>.toml; give two.", show_default=False)
    ],
    flows: FlowsArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Show what of flows differs between two environments.

    Topics, settings and schemas are compared: what would have to become of the first one for it to
    be as the second. Exit code 0: nothing differs; 2: something does; 1: an error.
    """
    if len(env) != 2:
        raise ConfigurationError("two environments are compared: --env staging --env prod")
    first, second = env
    loaded = [load_checked(target) for target in flows_of(flows)]
    found = compare_clusters(loaded, backbone_of(first), backbone_of(second))
    if as_json:
        print_json([difference_as_json(one) for one in found])
    elif not found:
        typer.echo(f"{first} and {second} have the same of these flows")
    for one in [] if as_json else found:
        typer.echo(escaped("\n".join(difference_in_words(one)), keep="\n"))
    if found:
        raise typer.Exit(CHANGES)
