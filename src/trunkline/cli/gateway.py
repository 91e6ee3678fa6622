"""``trunkline gateway``: the HTTP door to the operations of flows."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from trunkline import logs
from trunkline.cli.access import ACCESS_FILE
from trunkline.cli.environment import backbone_of, load_together
from trunkline.cli.interpreter import event_loop, tune_interpreter
from trunkline.cli.options import EnvOption, LogFormatOption, LogLevelOption
from trunkline.errors import MissingExtra


def gateway(
    flows: Annotated[list[str], typer.Argument(help="Flow files, or modules that hold a flow.")],
    env: EnvOption = None,
    access: Annotated[Path, typer.Option(help="The file of clients, keys and rights.")] = (
        ACCESS_FILE
    ),
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.")] = 8080,
    max_body: Annotated[
        int, typer.Option(min=1, max=8_000_000, help="Most bytes of a request's body.")
    ] = 1_048_576,
    max_waiting: Annotated[int, typer.Option(min=1, help="Most requests at a time.")] = 2_000,
    max_connections: Annotated[int, typer.Option(min=1, help="Most connections.")] = 10_000,
    log_format: LogFormatOption = "auto",
    log_level: LogLevelOption = "info",
) -> None:
    """Serve the operations of flows over HTTP.

    Until Ctrl-C or SIGTERM. Several side by side are replicas: a call that is repeated at
    another one is run once.
    """
    try:
        from trunkline.gateway.requests import Limits
        from trunkline.gateway.server import Server
    except ImportError as error:
        raise MissingExtra("trunkline gateway", "gateway") from error
    logs.set_up(log_format, log_level)
    loaded = load_together(flows)
    limits = Limits(body=max_body, waiting=max_waiting, connections=max_connections)
    server = Server(
        *(loaded, backbone_of(env), access),
        host=host,
        port=port,
        limits=limits,
        version=version("trunkline"),
    )
    tune_interpreter()
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        runner.run(server.run())
