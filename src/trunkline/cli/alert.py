"""``trunkline alert``: whether alerts reach people."""

from __future__ import annotations

import typer

from trunkline.admin.alerts import send_test_alert
from trunkline.cli.environment import file_of
from trunkline.cli.options import EnvOption
from trunkline.streams.alerts.settings import load_alert_settings

alert_app = typer.Typer(name="alert", help="Whether alerts reach people.", no_args_is_help=True)


@alert_app.callback()
def _group() -> None:
    """Whether alerts reach people."""


@alert_app.command("test")
def send_test(
    env: EnvOption = None,
) -> None:
    """Send a test message through every channel of [alerts].

    Exit code 1 if one failed, or if there is none.
    """
    results = send_test_alert(load_alert_settings(file_of(env)))
    if not results:
        typer.echo("no channel: name one in [alerts] of the environment's file", err=True)
        raise typer.Exit(1)
    for result in results:
        typer.echo(f"{result.channel}: {f'failed: {result.failure}' if result.failure else 'sent'}")
    raise typer.Exit(1 if any(result.failure for result in results) else 0)
