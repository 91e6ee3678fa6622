"""``trunkline destination``: pause and resume a destination of running workers, and look at it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from trunkline.admin.audit import put_audited
from trunkline.admin.status import WorkerStatus, members, reported
from trunkline.admin.targets import Target, require, target
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import (
    TIME_HELP,
    EnvOption,
    JsonOption,
    TargetArgument,
    WhyOption,
)
from trunkline.errors import ConfigurationError
from trunkline.streams.admission.command import Override, OverrideRecord, key_of
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.streams.control.topic import read_control
from trunkline.times import iso, parse_duration, parse_time

destination_app = typer.Typer(
    name="destination", help="Pause, resume and look at a destination.", no_args_is_help=True
)

_MEANING = {"open": "paused", "closed": "forced closed", "auto": "auto"}


@destination_app.callback()
def _group() -> None:
    """Pause, resume and look at a destination of running workers."""


@destination_app.command()
def pause(
    destination: TargetArgument,
    duration: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long, as 30m or 2h.")
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help=f"When it ends. {TIME_HELP}")] = "",
    why: WhyOption = "",
    env: EnvOption = None,
) -> None:
    """Send a destination nothing, in all workers, until the end that is given or `resume`.

    Events wait in the inbox, no attempt is used up, and restarts change nothing.
    """
    ends = _end(duration, until, time.time())
    command = _commanded(destination, "open", why, env, until=ends)
    typer.echo(f"{destination}: {_told(command, time.time())}")


@destination_app.command()
def resume(
    destination: TargetArgument,
    force_closed: Annotated[
        bool, typer.Option("--force-closed", help="Send whatever the circuit breaker says.")
    ] = False,
    why: WhyOption = "",
    env: EnvOption = None,
) -> None:
    """End a pause, or a forced closed: the circuit breaker decides again."""
    command = _commanded(destination, "closed" if force_closed else "auto", why, env)
    typer.echo(f"{destination}: {_told(command, time.time())}")


@destination_app.command()
def status(destination: TargetArgument, env: EnvOption = None, as_json: JsonOption = False) -> None:
    """Show what is commanded, and how the destination is in each worker."""
    meant, backbone = target(destination), backbone_of(env)
    require(meant, backbone)
    state, now = read_control(backbone, meant.control), time.time()
    command = OverrideRecord.of(state.get(key_of(meant.destination)))
    workers = reported(state, meant.destination, now)
    running = members(backbone, str(meant))
    if as_json:
        shown = _as_json(meant, command, running, workers, now)
        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return
    typer.echo(f"{meant}: {_told(command, now)}")
    typer.echo(f"workers that deliver to it: {running}")
    if workers:
        Console().print(_table(workers))
    else:
        typer.echo("none of them tells of trouble" if running else "events wait in the inbox")


def _commanded(
    destination: str, state: Override, why: str, env: str | None, *, until: str | None = None
) -> OverrideRecord:
    """Write the command, and who gave it."""
    meant, backbone = target(destination), backbone_of(env)
    require(meant, backbone)
    command = OverrideRecord(state, until, by=who(), why=why, at=iso(time.time()))
    what = "pause" if state == "open" else "resume"
    audit = AuditRecord(
        what=what, on=meant.destination, why=why, at=command.at, more=_details(command)
    )
    put_audited(backbone, meant.flow, {key_of(meant.destination): command.value()}, audit)
    return command


def _details(command: OverrideRecord) -> dict[str, Any]:
    return {"state": command.state, "until": command.until}


def _end(duration: str, until: str, now: float) -> str | None:
    """When a pause ends, ISO 8601 in UTC; None: when somebody resumes."""
    if duration and until:
        raise ConfigurationError("--for and --until both say when the pause ends: give one")
    if duration:
        parse_duration(duration)  # --for takes no date
    text = duration or until
    if not text:
        return None
    end = parse_time(text, now, ahead=True).timestamp()
    if end <= now:
        raise ConfigurationError(f"--until {until!r} is over ({iso(end)})")
    return iso(end)


def _told(command: OverrideRecord, now: float) -> str:
    """A command in words."""
    if not command.at:
        return "auto (nothing is commanded)"
    words = _MEANING[command.state]
    if command.until:
        words += f" until {command.until}"
    if now >= command.ends_at:
        words = f"auto (was {words})"
    reason = f": {command.why}" if command.why else ""
    return f"{words}, by {command.by} at {command.at}{reason}"


def _as_json(
    meant: Target, command: OverrideRecord, running: int, workers: list[WorkerStatus], now: float
) -> dict[str, Any]:
    commanded = {**command.value(), "in_force": command.in_force(now)} if command.at else None
    told = [asdict(worker) for worker in workers]
    return {"destination": str(meant), "command": commanded, "running": running, "workers": told}


def _table(workers: Iterable[WorkerStatus]) -> Table:
    """Who told something out of the ordinary; for the other workers it is closed."""
    table = Table(box=None, pad_edge=False)
    for heading in ("worker", "state", "since", "lag", "waiting", "told"):
        table.add_column(heading, overflow="fold")
    for one in workers:
        state = f"stale (was {one.state})" if one.stale else one.state
        since = (one.since or "")[:19]
        figures = ("" if figure is None else str(figure) for figure in (one.lag, one.waiting))
        table.add_row(one.worker, state, since, *figures, f"{one.age:.0f} s ago")
    return table
