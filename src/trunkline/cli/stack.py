"""``trunkline up``, ``down`` and ``servers``: the local stack from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from trunkline import project
from trunkline.cli import environment
from trunkline.cli.access import ACCESS_FILE
from trunkline.local.stack import Running, Stack, StackError, Status, inspect

STOP_SECONDS = 90
console = Console()

HOME = Path(environment.HOME)


def _of_the_project(context: typer.Context, option: typer.CallbackParam, given: Path) -> Path:
    """The default home is one for all folders of a project."""
    source = context.get_parameter_source(str(option.name))
    # By its name: typer has an enum of its own, or click's, with its versions.
    return project.root() / given if source is None or source.name == "DEFAULT" else given


Home = Annotated[
    Path, typer.Option(help="Where the stack keeps its data.", callback=_of_the_project)
]


def up(
    home: Home = HOME,
    kafka_port: Annotated[int, typer.Option(min=0, max=65535, help="Kafka's port.")] = 9092,
    registry_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The registry's port.")
    ] = 8081,
    postgres: Annotated[bool, typer.Option("--postgres", help="Also PostgreSQL.")] = False,
    postgres_port: Annotated[int, typer.Option(min=0, max=65535, help="PostgreSQL's port.")] = 5432,
    mariadb: Annotated[bool, typer.Option("--mariadb", help="Also MariaDB.")] = False,
    mariadb_port: Annotated[int, typer.Option(min=0, max=65535, help="MariaDB's port.")] = 3306,
    gateway: Annotated[
        list[str] | None,
        typer.Option(metavar="FLOW", help="Also a gateway of this flow file; may be repeated."),
    ] = None,
    gateway_port: Annotated[int, typer.Option(min=0, max=65535, help="The gateway's port.")] = 8080,
    access: Annotated[Path, typer.Option(help="The gateway's file of clients and keys.")] = (
        ACCESS_FILE
    ),
    kafka_heap: Annotated[str, typer.Option(help="The broker's memory.")] = "512m",
    detach: Annotated[bool, typer.Option("--detach", help="Return when all are up.")] = False,
) -> None:
    """Run Kafka and the schema registry until Ctrl-C.

    On request databases and a gateway, too. A port of 0 means any free one. The first run downloads
    the servers; later ones need no network.
    """
    stack = Stack(
        home,
        kafka_port=kafka_port,
        registry_port=registry_port,
        postgres=postgres,
        postgres_port=postgres_port,
        mariadb=mariadb,
        mariadb_port=mariadb_port,
        gateway=gateway or (),
        gateway_port=gateway_port,
        access=access,
        kafka_heap=kafka_heap,
        report=partial(console.print, markup=False, highlight=False),
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # Before it detaches: a download has progress to show, and takes minutes the first time, while a
    # process in the background could only be waited for.
    stack.download()
    if detach:
        _detach(home)
    else:
        _run(stack)


def down(home: Home = HOME) -> None:
    """Stop the stack that runs on this home; its data stay."""
    found = inspect(home)
    if found is None:
        console.print(f"no stack runs on {home}")
        return
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while inspect(home) is not None:
        if time.monotonic() > deadline:
            raise StackError(f"the stack (pid {found.pid}) does not stop; see {home / 'up.log'}")
        time.sleep(0.1)
    console.print(f"the stack on {home} is stopped; its data are kept")


def servers(
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the local stack's servers.

    Exit code 1 unless all are up.
    """
    found = inspect(home)
    if as_json:
        print(json.dumps(asdict(found) if found else {"ready": False, "servers": []}, indent=1))
    elif found is None:
        console.print(f"no stack runs on {home}; start one with `trunkline up`")
    else:
        console.print(_table(found.servers))
    if found is None or not found.ready:
        raise typer.Exit(1)


def _run(stack: Stack) -> None:
    """Run the stack in the foreground until Ctrl-C, SIGTERM, SIGHUP, or until one of its servers
    cannot be kept alive."""

    def stop(number: int, frame: FrameType | None) -> None:
        stack.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        stack.launch()
        shown: list[Status] = []
        while not stack.wait(0.25):
            if live and (shown != (now := stack.status())):
                shown = now
                live.update(_table(now), refresh=True)
    console.print("stopped; the data are kept")


def _detach(home: Path) -> None:
    """Start the same command without --detach in the background, and wait until all is up."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    home.mkdir(parents=True, exist_ok=True)
    log = home / "up.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "trunkline.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with console.status("starting …"):
        found = _await_ready(home, process, log)
    console.print(_table(found.servers))


def _await_ready(home: Path, process: subprocess.Popen[bytes], log: Path) -> Running:
    while process.poll() is None:
        found = inspect(home)
        if found and found.ready and found.pid == process.pid:
            return found
        time.sleep(0.1)
    raise StackError(f"the stack did not start:\n{log.read_text('utf-8', 'replace').strip()}")


def _table(servers: Iterable[Status]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("server", "state", "pid", "restarts"):
        table.add_column(heading, no_wrap=True)
    table.add_column("address", overflow="fold")
    colours = {"up": "green", "starting": "yellow", "waiting": "dim"}
    for server in servers:
        state = f"[{colours[server.state]}]{server.state}[/]"
        cells = (str(server.pid or ""), str(server.restarts), server.address)
        table.add_row(server.name, state, *cells)
    return table
