"""``trunkline destination``: pause and resume a destination of running workers, and look at it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from trunkline.admin.destinations import (
    DestinationOverview,
    destination_status,
    force_destination,
    pause_destination,
    resume_destination,
)
from trunkline.admin.status import WorkerStatus
from trunkline.admin.targets import Target
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import TIME_HELP, EnvOption, JsonOption, TargetArgument, WhyOption
from trunkline.cli.output import (
    WORKER_HEADINGS,
    backlog_in_words,
    halted_in_words,
    held_in_words,
    print_json,
    print_table,
    worker_row,
)
from trunkline.errors import ConfigurationError
from trunkline.masking import escaped
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.times import parse_duration, parse_time

destination_app = typer.Typer(
    name="destination", help="Pause, resume and look at a destination.", no_args_is_help=True
)


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
    """Send a destination nothing until the end given, or `resume`.

    In all workers. Events wait in the inbox, no attempt is used up, and restarts change nothing.
    """
    target, end = Target.parse(destination), pause_end(duration, until, time.time())
    command = pause_destination(backbone_of(env), target, until=end, why=why)
    typer.echo(f"{target}: {command_in_words(command, time.time())}")


@destination_app.command()
def resume(
    destination: TargetArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Send whatever the circuit breaker says.")
    ] = False,
    why: WhyOption = "",
    env: EnvOption = None,
) -> None:
    """End a pause or a forcing: the breaker decides again."""
    target, do = (
        Target.parse(destination),
        force_destination if force else resume_destination,
    )
    command = do(backbone_of(env), target, why=why)
    typer.echo(f"{target}: {command_in_words(command, time.time())}")


@destination_app.command()
def status(destination: TargetArgument, env: EnvOption = None, as_json: JsonOption = False) -> None:
    """Show what is commanded, and how the destination is in each worker."""
    target = Target.parse(destination)
    found = destination_status(backbone_of(env), target)
    if as_json:
        print_json(_as_json(found))
        return
    typer.echo(f"{target}: {command_in_words(found.override, time.time())}")
    typer.echo(f"workers that deliver to it: {found.members}")
    if found.backlog is not None:
        typer.echo(f"not delivered yet: {backlog_in_words(found.backlog)}")
    if found.workers:
        print_table(WORKER_HEADINGS, map(worker_row, found.workers))
        # Without what killed workers told: whoever has their partitions tells it, if it is still
        # so. Where nobody runs, theirs is the newest that is known.
        told = [one for one in found.workers if not (one.stale and found.members)]
        for why in dict.fromkeys(worker.why for worker in told if worker.why):
            typer.echo("why: " + escaped(why, keep="\n"))
        for held in (one for worker in told for one in worker.held):
            typer.echo("held: " + held_in_words(held))
        _tell_halted(target, told)
    else:
        typer.echo("none of them tells of trouble" if found.members else "events wait in the inbox")
    for held in (one for worker in found.routing if not worker.stale for one in worker.held):
        typer.echo("not routed: " + held_in_words(held, "could not be routed"))


def _tell_halted(target: Target, workers: Sequence[WorkerStatus]) -> None:
    told = [one for worker in workers for one in worker.halted]
    for halted in told:
        typer.echo("halted: " + halted_in_words(halted))
    if (more := sum(worker.halted_keys for worker in workers) - len(told)) > 0:
        typer.echo(f"halted: {more} more")
    if told:
        typer.echo(f"a halted key goes on after trunkline dlq redrive, or discard, {target}")


def pause_end(duration: str, until: str, now: float) -> datetime | None:
    """When a pause ends; None: when somebody resumes."""
    if duration and until:
        raise ConfigurationError("--for and --until both say when the pause ends: give one")
    if duration:
        parse_duration(duration)  # --for takes no date
    text = duration or until
    return parse_time(text, now, ahead=True) if text else None


def command_in_words(command: OverrideRecord, now: float) -> str:
    """A command as a person says it."""
    if not command.at:
        return "auto (nothing is commanded)"
    words: str = command.state
    if command.until:
        words += f" until {command.until}"
    if now >= command.ends_at:
        words = f"auto (was {words})"
    reason = f": {command.why}" if command.why else ""
    return escaped(f"{words}, by {command.by} at {command.at}{reason}")


def _as_json(found: DestinationOverview) -> dict[str, Any]:
    command = found.override
    return {
        "destination": str(found.target),
        "command": {**command.value(), "in_force": found.in_force} if command.at else None,
        "running": found.members,
        "backlog": None if found.backlog is None else asdict(found.backlog),
        "workers": [asdict(worker) for worker in found.workers],
        "routing": [asdict(worker) for worker in found.routing],
    }
