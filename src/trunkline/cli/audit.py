"""``trunkline audit``: who paused, replayed and discarded what, when and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from trunkline.admin.audit import read_audit
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import EnvOption, JsonOption
from trunkline.streams.control.audit import AuditRecord


def audit(
    flow: Annotated[str, typer.Argument(help="The flow's name.", show_default=False)],
    env: EnvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what people did to a flow's destinations by hand, oldest first."""
    found = read_audit(backbone_of(env), flow)
    if as_json:
        typer.echo(orjson.dumps([asdict(one) for one in found], option=orjson.OPT_INDENT_2))
    elif found:
        Console().print(_table(found))
    else:
        typer.echo(f"nothing was done to {flow!r} by hand, or there is no flow of this name")


def _table(audits: Iterable[AuditRecord]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("at", "who", "what", "on", "events", "why"):
        table.add_column(heading, overflow="fold")
    for one in audits:
        count = "" if one.count is None else str(one.count)
        table.add_row(one.at[:19], one.who, one.what, one.on, count, one.why)
    return table
