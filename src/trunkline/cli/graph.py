"""``trunkline graph``: the topology of a flow, as text or Mermaid."""

from __future__ import annotations

from typing import Annotated

import typer

from trunkline.streams.flow import graph as drawing
from trunkline.streams.flow.loading import load


def graph(
    flow: Annotated[str, typer.Argument(help="A flow file, or a module that holds a flow.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")] = False,
) -> None:
    """Draw a flow: its sources, topics, routes and destinations."""
    loaded = load(flow)
    typer.echo(drawing.mermaid(loaded) if mermaid else drawing.text(loaded), nl=False)
