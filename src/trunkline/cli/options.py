"""Arguments and options that several commands share."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from trunkline.admin.replay_scope import Bound
from trunkline.errors import ConfigurationError
from trunkline.times import parse_time

TIME_HELP = "ISO 8601 (local time, or with Z), or how far from now, as 2h."
"""What ``trunkline.times.parse_time`` takes: for the help of every option that is a time."""


TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="FLOW.DESTINATION",
        help="A destination with its flow, as orders.warehouse.",
        show_default=False,
    ),
]


FlowsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Flow files, or modules that hold a flow; by default the project's.",
        show_default=False,
    ),
]


def named(given: str | None) -> str | None:
    """What ``--env`` says. Raises ConfigurationError for "": of a script's ``--env "$STAGE"`` the
    addresses of the process would be taken without a word."""
    if given == "":
        raise ConfigurationError("--env is empty: name an environment, or leave the option out")
    return given


EnvOption = Annotated[str | None, typer.Option(help="environments/<ENV>.toml", callback=named)]


WhyOption = Annotated[str, typer.Option(help="The reason, for those who look later.")]


JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]


HealthPort = Annotated[
    int,
    typer.Option(
        min=0, max=65535, help="Port of /healthz, /readyz and /metrics; 0 turns them off."
    ),
]


LogFormatOption = Annotated[str, typer.Option(help="json, text, or auto.")]


LogLevelOption = Annotated[str, typer.Option(help="debug, info, warning or error.")]


RateOption = Annotated[
    str | None, typer.Option(metavar="RATE", help="As 50/s or 300/m, over all workers.")
]


DetachOption = Annotated[bool, typer.Option("--detach", help="Return at once: workers do it.")]


def bound_of(text: str) -> Bound:
    """Where a range begins or ends: a time, an offset of each partition, or nothing. Raises
    ConfigurationError."""
    if not text:
        return None
    # Digits alone are an offset, though 20300531 would be a day in ISO 8601, too.
    return int(text) if text.isdecimal() else parse_time(text, time.time())
