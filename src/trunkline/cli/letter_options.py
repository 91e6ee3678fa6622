"""The options of ``trunkline dlq`` that say which dead letters are meant, once for all commands."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from trunkline.cli.options import TIME_HELP
from trunkline.errors import ConfigurationError
from trunkline.headers import CE_TYPE
from trunkline.streams.dlq.letters import DeadLetterFilter
from trunkline.times import parse_time

SELECTION = "selection"
"""The argument of a command that all these options become."""


def selected(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Dead since then. {TIME_HELP}")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Dead before then. {TIME_HELP}")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Of this key, as `list` shows it.")] = None,
    error: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Of this class of error.")
    ] = None,
    cause: Annotated[
        str | None, typer.Option(metavar="ID", help="Of this cause, as in `group`.")
    ] = None,
    message: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With this in their message.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="With this header; repeatable.")
    ] = None,
) -> DeadLetterFilter:
    """The filter that the options mean. Raises ConfigurationError for a time that is none and a
    header without its value."""
    now = time.time()
    return DeadLetterFilter(
        since=None if since is None else parse_time(since, now).isoformat(),
        until=None if until is None else parse_time(until, now).isoformat(),
        key=key,
        error=error,
        cause=cause,
        message=message,
        header=dict(map(_name_and_value, header or ())),
    )


def selects_letters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of ``selected``; it gets them as one argument ``selection``.

    Typer makes the options of a command from its signature. So the command that is returned has
    one in which ``selection`` is replaced by the parameters of ``selected``.
    """
    options = inspect.signature(selected, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True)

    @wraps(command)
    def with_options(**given: Any) -> None:
        selection = selected(**{name: given.pop(name) for name in options})
        command(**given, **{SELECTION: selection})

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += options.values() if parameter.name == SELECTION else [parameter]
    with_options.__dict__["__signature__"] = own.replace(parameters=parameters)
    return with_options


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigurationError(f"--header {text!r}: write NAME=VALUE, as {CE_TYPE}=order.paid")
    return name, value
