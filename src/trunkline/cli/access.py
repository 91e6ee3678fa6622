"""``trunkline access``: the API keys and the rights of those who call operations."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from trunkline.access.file import AccessEditor, load_policy
from trunkline.access.keys import new_key
from trunkline.access.quota import MAX_LIMIT, MAX_PER_SECOND, UNLIMITED, Quota
from trunkline.admin.accesses import read_accesses
from trunkline.admin.quotas import change_quota, changed_quotas
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import TIME_HELP, EnvOption, JsonOption, WhyOption
from trunkline.cli.output import print_json, print_table
from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration, parse_time

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
AUDITED = ("at", "client", "by", "what", "on", "right", "outcome", "call", "fields")


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
        quota = f"; {client.quota.words()}" if client.quota != UNLIMITED else ""
        typer.echo(f"{name}: may call {', '.join(client.call) or 'nothing'}{quota}")
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


@access_app.command("quota")
def quota(
    client: Annotated[
        str, typer.Argument(help="Who calls; without it all are shown.", show_default=False)
    ] = "",
    per_second: Annotated[
        int | None, typer.Option(min=1, max=MAX_PER_SECOND, help="Units in any second.")
    ] = None,
    per_minute: Annotated[
        int | None, typer.Option(min=1, max=MAX_LIMIT, help="Units in a minute.")
    ] = None,
    per_day: Annotated[
        int | None, typer.Option(min=1, max=MAX_LIMIT, help="Units in a day, UTC.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="The file's limits hold again.")] = False,
    why: WhyOption = "",
    env: EnvOption = None,
) -> None:
    """Change a client's limits at all gateways, or show changed ones.

    They hold within two seconds, instead of all limits in the file, until `--clear`. Without an
    option it shows them.
    """
    given = Quota(per_second=per_second, per_minute=per_minute, per_day=per_day)
    changes = given != UNLIMITED
    if (changes or clear) and not client:
        raise ConfigurationError("name the client whose limits are changed")
    if changes and clear:
        raise ConfigurationError("--clear gives the file's limits back: leave the others out")
    if changes or clear:
        change_quota(backbone_of(env), client, None if clear else given, why=why)
        typer.echo(f"{client}: {'as in the file' if clear else given.words()}")
        return
    found = changed_quotas(backbone_of(env))
    shown = {name: one for name, one in sorted(found.items()) if client in ("", name)}
    for name, one in shown.items():
        typer.echo(f"{name}: {one.words()}")
    if not shown:
        typer.echo(f"{client or 'every client'}: as in the file")


@access_app.command("audit")
def audit(
    client: Annotated[
        str, typer.Option(metavar="CLIENT", help="What this one asked for; else all.")
    ] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help=f"From when on. {TIME_HELP}")] = "24h",
    denied: Annotated[bool, typer.Option("--denied", help="Only what was denied.")] = False,
    as_json: JsonOption = False,
    env: EnvOption = None,
) -> None:
    """Show who asked gateways for what, and the outcome.

    Oldest first. It has the names of fields, and never a value.
    """
    start = parse_time(since, time.time())
    found = read_accesses(backbone_of(env), start, client=client, denied=denied)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (
            *(one.at, one.client or "-", one.by, one.what, one.on, one.right),
            *(f"{one.status} {one.outcome}", one.call, " ".join(one.fields)),
        )
        for one in found
    ]
    if rows:
        print_table(AUDITED, rows)
    else:
        typer.echo("nothing was asked for")
