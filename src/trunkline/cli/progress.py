"""Showing what workers do for a request: how far it is, until it is over or nobody watches."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import typer
from rich.console import Console

from trunkline.admin.replays import RequestStatus, follow_request, routing_workers
from trunkline.cli.output import counts_in_words
from trunkline.params import Backbone


def follow(backbone: Backbone, flow: str, id: str, *, wait: bool) -> None:
    """Show the progress of a request until it is over; Ctrl-C ends the watching only. Without
    ``wait``: say whether somebody works on it. Raises KafkaUnavailable."""
    if not routing_workers(backbone, flow):
        typer.echo(f"no worker of {flow} routes now: the request waits until one runs")
    if not wait:
        return
    try:
        asyncio.run(_show_until_over(backbone, flow, id))
    except KeyboardInterrupt:
        typer.echo(f"\nworkers go on with it: see trunkline replay status {flow}.{id}")


async def _show_until_over(backbone: Backbone, flow: str, id: str) -> None:
    """Show each change in the same line of the terminal, and print how it ended."""
    last = ""
    with Console().status("waiting …") as line:
        async with aclosing(follow_request(backbone, flow, id)) as changes:
            async for status in changes:
                last = _in_words(status)
                line.update(last)
    typer.echo(last)


def _in_words(status: RequestStatus) -> str:
    request = status.request
    return f"{request.state}: {request.reason or counts_in_words(status.counts)}"
