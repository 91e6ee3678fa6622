"""``trunkline graph``: the topology of flows, as text or Mermaid."""

from __future__ import annotations

from typing import Annotated

import typer

from trunkline.streams.flow import graph as drawing
from trunkline.streams.flow.loading import load


def graph(
    flows: Annotated[list[str], typer.Argument(help="Flow files, or modules that hold a flow.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid flowchart.")] = False,
) -> None:
    """Draw flows: sources, topics, routes and destinations.

    Of several flows also the topics that join them: one publishes what another reads.
    """
    loaded = [load(flow) for flow in dict.fromkeys(flows)]
    if len(loaded) == 1:
        drawn = drawing.mermaid(loaded[0]) if mermaid else drawing.text(loaded[0])
    else:
        drawn = drawing.mermaid_of(loaded) if mermaid else drawing.text_of(loaded)
    typer.echo(drawn, nl=False)
