"""``trunkline audit``: who paused, replayed and discarded what, when and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from trunkline.admin.audit import read_audit
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import EnvOption, JsonOption
from trunkline.cli.output import AUDIT_HEADINGS, audit_row, print_json, print_table


def audit(
    flow: Annotated[str, typer.Argument(help="The flow's name.", show_default=False)],
    env: EnvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what people did to a flow's destinations, oldest first."""
    found = read_audit(backbone_of(env), flow)
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        print_table(AUDIT_HEADINGS, map(audit_row, found))
    else:
        typer.echo(f"nothing was done to {flow!r}, or there is no flow of this name")
