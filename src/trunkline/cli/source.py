"""``trunkline source``: look at a source, check, pause, resume and reset it; have rows read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from trunkline.admin.sources import (
    SnapshotStatus,
    SourceOverview,
    change_snapshot,
    pause_source,
    request_snapshot,
    reset_source,
    resume_source,
    source_status,
)
from trunkline.admin.targets import Target
from trunkline.cli.destination import command_in_words, pause_end
from trunkline.cli.environment import backbone_of, prepare
from trunkline.cli.options import TIME_HELP, EnvOption, JsonOption, WhyOption
from trunkline.cli.output import dumped, print_json
from trunkline.connectors.base import Finding
from trunkline.errors import ConfigurationError, TrunklineError
from trunkline.masking import escaped, without_secrets
from trunkline.streams.publish.progress import progress_in_words
from trunkline.times import format_duration

source_app = typer.Typer(
    name="source", help="Look at a source, check, pause, resume and reset it.", no_args_is_help=True
)

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="FLOW.SOURCE", help="A source with its flow, as orders.shop.", show_default=False
    ),
]

SnapshotState = Literal["running", "paused", "stopped"]
_SHOWN_APART = ("phase", "progress", "snapshots")
_MEANING = """\
{target} begins anew, as if it had never run:
- with a snapshot first, if it takes one, everything that it has is published again, with new ids:
  canonical topics and destinations get all of it once more
- what was deleted at its system since it was published, and not read yet, is told by no event:
  such rows stay at destinations until somebody removes them
- a replication slot of its own is replaced, and with it the changes that it still holds
It stood at {position}."""


@source_app.callback()
def _group() -> None:
    """Look at a source of running workers, check, pause, resume and reset it."""


@source_app.command()
def status(source: SourceArgument, env: EnvOption = None, as_json: JsonOption = False) -> None:
    """Show where a source stands, how late it is, and its last error."""
    found = source_status(backbone_of(env), Target.parse(source))
    if as_json:
        print_json({**asdict(found), "target": str(found.target)})
        return
    for line in _in_words(found, time.time()):
        typer.echo(escaped(line, keep="\n"))


@source_app.command()
def check(
    flow: Annotated[str, typer.Argument(help="The flow's file, as flows/orders.py.")],
    source: Annotated[
        str, typer.Argument(help="One source's name; all of them by default.", show_default=False)
    ] = "",
    env: EnvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask systems what keeps their sources from running.

    Prints the statements that mend all of it. Changes nothing, and needs no Kafka. Exit code 1 if
    anything must be mended.
    """
    definitions, params = prepare(flow, env or "")[:2]
    chosen = [each for each in definitions.sources if source in ("", each.name)]
    if not chosen:
        there = ", ".join(each.name for each in definitions.sources) or "none"
        raise ConfigurationError(
            f"flow {definitions.name} has no source {source!r}; it has {there}"
        )
    found = {each.name: _checked(each, params) for each in chosen}
    if as_json:
        print_json({name: [asdict(one) for one in findings] for name, findings in found.items()})
    else:
        for name, findings in found.items():
            _print_findings(f"{definitions.name}.{name}", findings)
    if any(not one.warning for findings in found.values() for one in findings):
        raise typer.Exit(1)


@source_app.command()
def pause(
    source: SourceArgument,
    duration: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long, as 30m or 2h.")
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help=f"When it ends. {TIME_HELP}")] = "",
    why: WhyOption = "",
    env: EnvOption = None,
) -> None:
    """Read nothing of a source, until an end or `resume`.

    That is so in all workers. Its position stays. What it will need waits at its system: a
    replication slot keeps WAL.
    """
    target, end = Target.parse(source), pause_end(duration, until, time.time())
    command = pause_source(backbone_of(env), target, until=end, why=why)
    typer.echo(f"{target}: {command_in_words(command, time.time())}")


@source_app.command()
def resume(source: SourceArgument, why: WhyOption = "", env: EnvOption = None) -> None:
    """Go on after a pause or the dead-letter limit.

    The source begins at its position. What tripped the limit becomes dead letters.
    """
    target = Target.parse(source)
    command = resume_source(backbone_of(env), target, why=why)
    typer.echo(f"{target}: {command_in_words(command, time.time())}")


@source_app.command()
def reset(
    source: SourceArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    why: WhyOption = "",
    env: EnvOption = None,
) -> None:
    """Make a source begin anew, with a snapshot. Says what that means, and asks.

    A worker that runs it begins at once, unless the source is paused; else the next that starts.
    """
    target, backbone = Target.parse(source), backbone_of(env)
    found = source_status(backbone, target)
    stands = "no position: it never ran" if found.position is None else dumped(found.position)
    typer.echo(_MEANING.format(target=target, position=escaped(stands)))
    if not yes:
        typer.confirm("Reset it?", abort=True)
    reset_source(backbone, target, why=why)
    typer.echo(f"{target}: reset{_what_follows(found)}")


@source_app.command()
def snapshot(
    source: SourceArgument,
    table: Annotated[
        str, typer.Option(metavar="SCHEMA.TABLE", help="Whose rows are read.", show_default=False)
    ] = "",
    where: Annotated[
        str, typer.Option(metavar="SQL", help="Only rows of this condition; all by default.")
    ] = "",
    pause_: Annotated[str, typer.Option("--pause", metavar="ID", help="Pause a snapshot.")] = "",
    go_on: Annotated[
        str, typer.Option("--continue", metavar="ID", help="Let a paused one go on.")
    ] = "",
    stop: Annotated[str, typer.Option(metavar="ID", help="Give one up for good.")] = "",
    why: WhyOption = "",
    env: EnvOption = None,
) -> None:
    """Read a table's rows again while changes go on.

    No change waits for it, and no row comes after a newer change of its own. `status` shows how far
    it is.
    """
    target, given = Target.parse(source), [one for one in (table, pause_, go_on, stop) if one]
    if len(given) != 1 or (where and not table):
        raise ConfigurationError(
            "give one of --table (with --where, if not all rows are meant), --pause, --continue, "
            "--stop"
        )
    backbone = backbone_of(env)
    if table:
        id = request_snapshot(backbone, target, table, where=where, why=why)
        typer.echo(f"{target}: snapshot {id} of {escaped(table)} is asked for")
        return
    state: SnapshotState = "paused" if pause_ else "running" if go_on else "stopped"
    change_snapshot(backbone, target, given[0], state, why=why)
    typer.echo(f"{target}: snapshot {escaped(given[0])} is {state}")


def _what_follows(found: SourceOverview) -> str:
    if found.in_force == "paused":
        return "; it is paused, and begins when it is resumed"
    return "" if found.members else "; no worker runs: it begins with the next one"


def _checked(definition: Any, params: Any) -> Sequence[Finding]:
    """What a source finds; that it cannot be asked is a finding, too: the others are asked."""
    try:
        connector = definition(params)
        findings: Sequence[Finding] = connector.check()
    except TrunklineError as error:
        return [Finding(without_secrets(str(error)))]
    return findings


def _print_findings(name: str, findings: Sequence[Finding]) -> None:
    if not findings:
        typer.echo(f"{name}: all is as it must be")
        return
    for one in findings:
        kind = "warning: " if one.warning else ""
        typer.echo(escaped(f"{name}: {kind}{one.what}", keep="\n"))
    if mends := list(dict.fromkeys(one.mend for one in findings if one.mend)):
        typer.echo(f"\n-- all that can be mended by statements, for {name}:")
        for statement in mends:
            typer.echo(escaped(statement, keep="\n"))


def _in_words(found: SourceOverview, now: float) -> list[str]:
    status = found.status
    lines = [f"{found.target}: {command_in_words(found.override, now)}"]
    if status is None:
        lines.append("no worker has run it" if found.position is None else "no worker runs it now")
    else:
        stale = f" (told {status.age:.0f} s ago: the worker is gone, or has no Kafka)"
        since = f" since {(status.since or '')[:19]}"
        lines.append(f"{status.state}{since}, in {status.worker}{stale if status.stale else ''}")
    if status is not None and status.state == "listening":
        return lines
    lines.append(f"workers that may run it: {found.members}")
    lines += _position_in_words(found, now)
    lines += map(_snapshot_in_words, found.snapshots)
    if found.late is not None:
        lines.append(f"late: {format_duration(found.late)}")
    if status is not None and not status.stale:
        lines += [f"{one.name}: {one.words or f'{one.value:,.0f}'}" for one in status.gauges]
        lines += [f"warning: {one.warning}" for one in status.gauges if one.warning]
    if status is not None and status.error:
        lines.append(f"last error: {status.error}")
    return lines


def _position_in_words(found: SourceOverview, now: float) -> list[str]:
    position = found.position
    if not isinstance(position, dict):
        told = "none: it was reset, and begins anew" if found.was_reset else "none: it never ran"
        return [f"position: {told if position is None else position}"]
    lines = []
    if position.get("phase"):
        lines.append(f"phase: {phase_in_words(position)}")
    shown = {name: value for name, value in position.items() if name not in _SHOWN_APART}
    ago = (
        "" if found.stored_at is None else f", stored {now - found.stored_at.timestamp():.0f} s ago"
    )
    lines.append(f"position: {dumped(shown, indent=False)}{ago}")
    return lines


def phase_in_words(position: Mapping[str, Any]) -> str:
    """What a source does, and how far that is: "snapshot, public.orders: 12,000 rows of …"."""
    far = progress_in_words(position.get("progress"))
    return f"{position.get('phase', '')}{', ' if far else ''}{far}"


def _snapshot_in_words(one: SnapshotStatus) -> str:
    about = "" if one.about is None else f" of about {one.about:,}"
    where = f" where {one.where}" if one.where else ""
    error = f": {one.error}" if one.error else ""
    return f"snapshot {one.id} of {one.table}{where}: {one.state}, {one.rows:,} rows{about}{error}"
