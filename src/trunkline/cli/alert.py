"""``trunkline alert``: whether alerts reach people."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from trunkline.params import environment_file
from trunkline.streams.alerts.channels import Channel, ChannelError
from trunkline.streams.alerts.notification import Notification, sample_notification
from trunkline.streams.alerts.settings import load_alert_settings

alert_app = typer.Typer(name="alert", help="Whether alerts reach people.", no_args_is_help=True)


@alert_app.callback()
def _group() -> None:
    """Whether alerts reach people."""


@alert_app.command("test")
def send_test(
    env: Annotated[str, typer.Option(help="environments/<ENV>.toml")] = "",
) -> None:
    """Send a test message through every channel that [alerts] names, and say what happened.

    Exit code 1 if one failed, or if there is none.
    """
    channels = load_alert_settings(environment_file(env) if env else {}).channels()
    if not channels:
        typer.echo("no channel: name one in [alerts] of the environment's file", err=True)
        raise typer.Exit(1)
    failures = asyncio.run(_sent(channels, sample_notification(round(time.time(), 3))))
    for channel, failure in zip(channels, failures, strict=True):
        typer.echo(f"{channel.name}: {failure or 'sent'}")
    raise typer.Exit(1 if any(failures) else 0)


async def _sent(channels: list[Channel], notification: Notification) -> list[str]:
    return list(await asyncio.gather(*(_tried(channel, notification) for channel in channels)))


async def _tried(channel: Channel, notification: Notification) -> str:
    """Empty, or why it failed."""
    try:
        await channel.send(notification)
    except ChannelError as error:
        return f"failed: {error}"
    return ""
