"""``trunkline scaler``: how many workers KEDA lets run, and whether any."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from trunkline import logs
from trunkline.cli.environment import backbone_of, load_together
from trunkline.cli.options import EnvOption, HealthPort, LogFormatOption, LogLevelOption
from trunkline.errors import ConfigurationError, MissingExtra
from trunkline.times import parse_duration

MOST_LEAD = 300.0
"""Seconds of the longest ``--lead``."""


def scaler(
    flows: Annotated[list[str], typer.Argument(help="Flow files, or modules that hold a flow.")],
    env: EnvOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of KEDA's calls.")] = 9090,
    health_port: HealthPort = 0,
    lead: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="How long a worker takes to start, until it was measured."
        ),
    ] = "15s",
    tls_certificate: Annotated[
        str, typer.Option(metavar="FILE", help="Certificate of KEDA's port, in PEM: TLS.")
    ] = "",
    tls_key: Annotated[str, typer.Option(metavar="FILE", help="Its key.")] = "",
    tls_clients: Annotated[
        str,
        typer.Option(metavar="FILE", help="Authority whose certificates KEDA must have: mTLS."),
    ] = "",
    log_format: LogFormatOption = "auto",
    log_level: LogLevelOption = "info",
) -> None:
    """Tell KEDA when workers must run, as its external scaler.

    Until Ctrl-C or SIGTERM. It knows when what waits is due, what holds a destination, and how
    many workers are of use. Several side by side are replicas.
    """
    try:
        from trunkline.scaler.server import ScalerOptions, ScalerServer
        from trunkline.scaler.tls import tls_files
    except ImportError as error:
        raise MissingExtra("trunkline scaler", "scaler") from error
    logs.set_up(log_format, log_level)
    seconds = parse_duration(lead)
    if seconds > MOST_LEAD:
        raise ConfigurationError(f"--lead {lead}: at most {MOST_LEAD:.0f}s")
    tls = tls_files(tls_certificate, tls_key, tls_clients)
    names = list(dict.fromkeys(flows))
    loaded = dict(zip(names, load_together(names), strict=True))
    options = ScalerOptions(host, port, health_port or None, seconds, tls)
    asyncio.run(ScalerServer(loaded, backbone_of(env), options).until_signal())
