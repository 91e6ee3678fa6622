"""Watching what workers do for a request: how far it is, until it is done or nobody watches."""

from __future__ import annotations

import asyncio

import typer
from rich.console import Console

from trunkline import naming
from trunkline.admin.replays import totals
from trunkline.admin.status import group_members
from trunkline.params import Backbone
from trunkline.streams.control.kafka_topic import KafkaControl
from trunkline.streams.control.records import ReplayKey

RUNNING = ("running", "paused")
"""States of a request that is not over."""


def follow(backbone: Backbone, flow: str, id: str, *, wait: bool) -> None:
    """Show the progress of the request ``replay/<id>`` until it is over; Ctrl-C ends the watching
    only. Without ``wait``: say whether somebody works on it. Raises KafkaUnavailable."""
    workers = group_members(backbone, naming.route_group(flow))
    if not workers:
        typer.echo(f"no worker of {flow} routes now: the request waits until one runs")
    if not wait:
        return
    try:
        asyncio.run(_Watch(backbone, flow, id).until_over())
    except KeyboardInterrupt:
        typer.echo(f"\nworkers go on with it: see trunkline replay status {flow}.{id}")


class _Watch:
    """One request, as the control topic tells of it."""

    def __init__(self, backbone: Backbone, flow: str, id: str) -> None:
        self._control = KafkaControl(backbone, naming.control(flow))
        self._id = id
        self._key = ReplayKey(id).text
        self._changed = asyncio.Event()

    async def until_over(self) -> None:
        """Show each change, and how it ended."""
        await self._control.start()
        try:
            self._control.subscribe(self._key, lambda key, value: self._changed.set())
            with Console().status("waiting …") as status:
                while self._state in RUNNING:
                    await self._changed.wait()
                    self._changed.clear()
                    status.update(self._told())
            typer.echo(self._told())
        finally:
            await self._control.stop()

    @property
    def _state(self) -> str:
        return str(self._control.state.get(self._key, {}).get("state", "running"))

    def _told(self) -> str:
        request = self._control.state.get(self._key, {})
        counts = totals(self._control.state, self._id)
        done = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"{self._state}: {request.get('reason') or done or 'nothing yet'}"
