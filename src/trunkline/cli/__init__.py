"""The ``trunkline`` command. Each command lives in a module of its own and is registered here."""

from __future__ import annotations

import io
import platform
import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from trunkline.admin.doctor.machine import core_versions
from trunkline.cli import (
    acls,
    audit,
    check,
    demo,
    destroy,
    diff,
    doctor,
    events,
    gateway,
    graph,
    init,
    plan,
    run,
    scaler,
    stack,
    status,
)
from trunkline.cli.access import access_app
from trunkline.cli.alert import alert_app
from trunkline.cli.connector import connector_app
from trunkline.cli.destination import destination_app
from trunkline.cli.dlq import dlq_app
from trunkline.cli.operations import operations_app
from trunkline.cli.replay import replay_app
from trunkline.cli.retry import retry_app
from trunkline.cli.schemas import schemas_app
from trunkline.cli.source import source_app
from trunkline.errors import TrunklineError
from trunkline.masking import escaped, without_secrets

app = typer.Typer(
    name="trunkline",
    help="An enterprise integration backbone on Kafka.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they can show the values of local variables
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(", ".join([*core_versions(), platform.platform(terse=True)]))
        raise typer.Exit


@app.callback()
def _options(
    version_: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """An enterprise integration backbone on Kafka.

    A project of your own begins with `trunkline init`.
    """


app.command()(init.init)
app.command()(check.check)
app.command()(graph.graph)
app.command()(plan.plan)
app.command()(plan.apply)
app.command()(diff.diff)
app.command()(destroy.destroy)
app.command()(acls.acls)
app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.servers)
app.command()(status.status)
app.command()(run.run)
app.command()(gateway.gateway)
app.command()(scaler.scaler)
app.command()(demo.demo)
app.command()(events.events)
app.command()(doctor.doctor)
app.command()(audit.audit)
app.add_typer(destination_app)
app.add_typer(source_app)
app.add_typer(dlq_app)
app.add_typer(replay_app)
app.add_typer(retry_app)
app.add_typer(schemas_app)
app.add_typer(connector_app)
app.add_typer(alert_app)
app.add_typer(access_app)
app.add_typer(operations_app)


def main() -> None:
    """Run the command line; an error of ours, and a file or folder that cannot be used, is one
    clear message and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name that is no UTF-8, or a terminal of Latin-1, ends no command.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except TrunklineError as error:
        _end(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _end(f"{error.filename} cannot be used: {error.strerror}")


def _end(error: str) -> NoReturn:
    text = escape(escaped(without_secrets(error), keep="\n"))
    Console(stderr=True).print(f"[bold red]error:[/] {text}", soft_wrap=True)
    sys.exit(1)
