"""``trunkline retry``: what waits for another attempt is shown, attempted now, or discarded."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from trunkline.admin.targets import Target
from trunkline.admin.waiting import (
    WaitingEvent,
    discard_waiting,
    list_waiting,
    retry_waiting,
)
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import EnvOption, JsonOption, TargetArgument, WhyOption
from trunkline.cli.output import dumped, print_table
from trunkline.errors import ConfigurationError

retry_app = typer.Typer(
    name="retry", help="Events that wait for another attempt.", no_args_is_help=True
)

Key = Annotated[str | None, typer.Option(metavar="KEY", help="Of this key.")]
Id = Annotated[str | None, typer.Option("--id", metavar="ID", help="With this event id.")]
All = Annotated[bool, typer.Option("--all", help="All that waits.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

HEADINGS = ("partition/offset", "key", "id", "attempts", "due", "tier", "error", "message")


@retry_app.callback()
def _group() -> None:
    """Events that wait for another attempt: look at them, attempt them now, or discard them."""


@retry_app.command(name="list")
def list_(
    destination: TargetArgument,
    key: Key = None,
    id: Id = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: JsonOption = False,
    env: EnvOption = None,
) -> None:
    """List what waits for another attempt, in inbox order."""
    target = Target.parse(destination)
    events = list_waiting(backbone_of(env), target, key=key, id=id)
    shown = list(islice(events, limit))
    if as_json:
        for one in shown:
            typer.echo(dumped(_as_json(one), indent=False))
    elif shown:
        print_table(HEADINGS, map(_row, shown))
    else:
        typer.echo(f"{target}: nothing waits for another attempt")
    if len(events) > limit:
        typer.echo(f"there are {len(events) - limit} more: raise --limit, or give --key", err=True)


@retry_app.command()
def now(
    destination: TargetArgument,
    key: Key = None,
    id: Id = None,
    all_: All = False,
    why: WhyOption = "",
    env: EnvOption = None,
) -> None:
    """Attempt events now, in the order of each key.

    With --id all that waits of the event's key: those before it go first.
    """
    target = Target.parse(destination)
    _one_of(key, id, all_)
    events = retry_waiting(backbone_of(env), target, key=key, id=id, why=why)
    _tell(target, "attempted now", events)


@retry_app.command()
def discard(
    destination: TargetArgument,
    key: Key = None,
    id: Id = None,
    all_: All = False,
    why: WhyOption = "",
    yes: Yes = False,
    env: EnvOption = None,
) -> None:
    """Remove events without sending them.

    For good: there is no dead letter of them.
    """
    target, backbone = Target.parse(destination), backbone_of(env)
    _one_of(key, id, all_)
    if not yes:
        meant = [o for o in list_waiting(backbone, target, key=key, id=id) if not o.halted]
        if meant:
            print_table(HEADINGS, map(_row, meant[:20]))
            typer.confirm(f"discard {_count(meant)} of {target}?", abort=True)
    events = discard_waiting(backbone, target, key=key, id=id, why=why)
    _tell(target, "discarded", events)


def _one_of(key: str | None, id: str | None, all_: bool) -> None:
    if (key is not None) + (id is not None) + all_ != 1:
        raise ConfigurationError("which events? give --key, --id or --all")


def _tell(target: Target, what: str, events: Any) -> None:
    if events:
        typer.echo(f"{target}: {_count(events)} will be {what}; workers do it at once")
    else:
        typer.echo(
            f"{target}: nothing of that waits (an event that halts its key is re-driven or "
            f"discarded as a dead letter: trunkline dlq list {target})"
        )


def _count(events: Any) -> str:
    return f"{len(events)} event{'' if len(events) == 1 else 's'}"


def _row(one: WaitingEvent) -> tuple[object, ...]:
    return (
        f"{one.partition}/{one.sequence}",
        one.key,
        one.id,
        one.attempts or "0 (behind)",
        "halted" if one.halted else one.due.strftime("%Y-%m-%d %H:%M:%SZ"),
        one.tier,
        one.error,
        one.message,
    )


def _as_json(one: WaitingEvent) -> dict[str, Any]:
    return {
        "partition": one.partition,
        "sequence": one.sequence,
        "key": one.key,
        "id": one.id,
        "type": one.type,
        "attempts": one.attempts,
        "due": one.due,
        "tier": one.tier,
        "error": one.error,
        "message": one.message,
        "halted": one.halted,
    }
