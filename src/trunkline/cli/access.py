"""``trunkline access``: the API keys and the rights of those who call operations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from trunkline.access.file import AccessEditor, load_policy
from trunkline.access.keys import new_key
from trunkline.times import parse_duration

access_app = typer.Typer(
    name="access", help="API keys and rights of callers.", no_args_is_help=True
)
FileOption = Annotated[Path, typer.Option(help="The file of clients, keys and rights.")]
ClientArgument = Annotated[str, typer.Argument(help="Who calls, as crm.", show_default=False)]
PatternArgument = Annotated[
    str,
    typer.Argument(
        metavar="SYSTEM/OPERATION", help="As erp/correct_order or erp/*.", show_default=False
    ),
]
ACCESS_FILE = Path("access.toml")


@access_app.callback()
def _group() -> None:
    """API keys and rights of callers."""


@access_app.command("issue")
def issue(
    client: ClientArgument,
    file: FileOption = ACCESS_FILE,
    expires: Annotated[
        str, typer.Option(metavar="DURATION", help="How long it is good, as 90d; else for ever.")
    ] = "",
) -> None:
    """Make a key for a client, and show it this once.

    The file has its hash alone.
    """
    key, now = new_key(), datetime.now(UTC)
    until = now + timedelta(seconds=parse_duration(expires)) if expires else None
    AccessEditor(file).add_key(client, key, now=now, expires=until)
    typer.echo(key.text)
    typer.echo(f"key {key.id} of {client}: give it to them now, it is not shown again", err=True)


@access_app.command("list")
def list_clients(file: FileOption = ACCESS_FILE) -> None:
    """Show each client: what it may call, and the ids of its keys."""
    now = datetime.now(UTC)
    for name, client in sorted(load_policy(file).clients.items()):
        typer.echo(f"{name}: may call {', '.join(client.call) or 'nothing'}")
        for key in client.keys:
            made = f", made {key.created:%Y-%m-%d}" if key.created else ""
            over = ""
            if key.expires:
                over = (
                    f", {'expired' if key.expires <= now else 'good until'} {key.expires:%Y-%m-%d}"
                )
            typer.echo(f"  key {key.id}{made}{over}")


@access_app.command("allow")
def allow(client: ClientArgument, pattern: PatternArgument, file: FileOption = ACCESS_FILE) -> None:
    """Let a client call operations."""
    AccessEditor(file).allow(client, pattern)
    typer.echo(f"{client} may call {pattern}")


@access_app.command("deny")
def deny(client: ClientArgument, pattern: PatternArgument, file: FileOption = ACCESS_FILE) -> None:
    """Take from a client what `allow` gave it."""
    AccessEditor(file).deny(client, pattern)
    typer.echo(f"{client} may not call {pattern} any more")


@access_app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="A key's id.", show_default=False)],
    file: FileOption = ACCESS_FILE,
) -> None:
    """Make a key worthless.

    Gateways that follow the file know it within a second.
    """
    typer.echo(f"key {key} of {AccessEditor(file).revoke(key)} is revoked")
