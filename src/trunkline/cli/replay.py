"""``trunkline replay``: send past events to one destination again, and watch or stop that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, cast, get_args

import typer
from typer.core import TyperGroup

from trunkline.admin import replays
from trunkline.admin.replay_scope import Preview
from trunkline.admin.replays import RequestStatus
from trunkline.admin.targets import Target
from trunkline.cli import output
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import (
    TIME_HELP,
    DetachOption,
    EnvOption,
    JsonOption,
    RateOption,
    WhyOption,
    bound_of,
)
from trunkline.cli.progress import follow
from trunkline.errors import ConfigurationError
from trunkline.headers import CE_TYPE
from trunkline.streams.replay.request import ReplayMode, Request
from trunkline.times import parse_rate


class _StartByDefault(TyperGroup):
    """``trunkline replay commerce.orders …`` is ``trunkline replay start commerce.orders …``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base; what names no command is a topic to start with."""
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["start", *args])


replay_app = typer.Typer(
    name="replay", help="Send past events again.", cls=_StartByDefault, no_args_is_help=True
)

_BOUND = f"an offset of each partition, or a time: {TIME_HELP}"
Flow = Annotated[str, typer.Argument(metavar="FLOW", help="The flow's name.", show_default=False)]
From = Annotated[
    str,
    typer.Option(
        "--from", metavar="TIME|OFFSET", help=f"Since then; {_BOUND} By default all there is."
    ),
]
Until = Annotated[
    str,
    typer.Option(
        metavar="TIME|OFFSET", help=f"Before then; {_BOUND} By default all that is routed."
    ),
]
Id = Annotated[str, typer.Argument(metavar="FLOW.ID", help="As `list` shows it.")]


@replay_app.callback()
def _group() -> None:
    """Send past events to one destination again, beside live traffic."""


@replay_app.command()
def start(
    topic: Annotated[str, typer.Argument(help="The canonical topic.", show_default=False)],
    to: Annotated[str, typer.Option(metavar="FLOW.DESTINATION", help="Where to, and only there.")],
    from_: From = "",
    until: Until = "",
    key: Annotated[str | None, typer.Option(help="Events of this key only.")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="As: data.total > 100 and key != 'x'")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="state: the newest event of each key; events: all, in order.")
    ] = "state",
    rate: RateOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Mode events even if the sink overwrites.")
    ] = False,
    why: WhyOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: count what would be sent.")
    ] = False,
    detach: DetachOption = False,
    env: EnvOption = None,
) -> None:
    """Send past events to one destination again.

    Through today's route. The set is fixed when it starts. Workers do it: Ctrl-C ends the watching
    only.
    """
    target, backbone = Target.parse(to), backbone_of(env)
    request = replays.plan_replay(
        backbone,
        target,
        topic,
        start=bound_of(from_),
        until=bound_of(until),
        mode=_mode(mode),
        key=key,
        where=where,
        rate=parse_rate(rate) if rate else None,
        force=force,
        why=why,
    )
    if dry_run:
        _tell_preview(replays.preview_replay(backbone, target.flow, request), request)
        return
    request = replays.submit_request(backbone, target.flow, request)
    name = f"{target.flow}.{request.id}"
    size = sum(map(len, request.ranges.values()))
    typer.echo(f"replay {request.id}: {topic} to {target}, at most {size} events")
    typer.echo(f"watch it: trunkline replay status {name} (or pause, cancel, continue)")
    follow(backbone, target.flow, request.id, wait=not detach)


@replay_app.command(name="list")
def list_(flow: Flow, as_json: JsonOption = False, env: EnvOption = None) -> None:
    """List a flow's replays, re-drives and discards, the newest first."""
    found = replays.list_requests(backbone_of(env), flow)
    if as_json:
        output.print_json([output.request_as_json(one) for one in found])
    elif found:
        output.print_table(output.REQUEST_HEADINGS, map(output.request_row, found))
    else:
        typer.echo(f"{flow}: no replays")


@replay_app.command()
def status(
    replay: Id,
    watch: Annotated[bool, typer.Option("--watch", help="Until it is over.")] = False,
    as_json: JsonOption = False,
    env: EnvOption = None,
) -> None:
    """Show a replay, and how far each partition is."""
    flow, id = _flow_and_id(replay)
    backbone = backbone_of(env)
    found = replays.request_status(backbone, flow, id)
    if as_json:
        output.print_json(output.request_as_json(found))
        return
    _tell_status(found)
    if watch:
        follow(backbone, flow, id, wait=True)


@replay_app.command()
def pause(replay: Id, why: WhyOption = "", env: EnvOption = None) -> None:
    """Hold a replay: nothing more is sent until `continue`."""
    _change(replays.pause_request, replay, why, env)


@replay_app.command()
def cancel(replay: Id, why: WhyOption = "", env: EnvOption = None) -> None:
    """End a replay for good: what is sent is sent."""
    _change(replays.cancel_request, replay, why, env)


@replay_app.command(name="continue")
def continue_(replay: Id, why: WhyOption = "", env: EnvOption = None) -> None:
    """Go on with a paused replay."""
    _change(replays.continue_request, replay, why, env)


def _change(change: Callable[..., Request], replay: str, why: str, env: str | None) -> None:
    flow, id = _flow_and_id(replay)
    request = change(backbone_of(env), flow, id, why=why)
    typer.echo(f"{request.kind} {id}: {request.state}")


def _flow_and_id(replay: str) -> tuple[str, str]:
    flow, dot, id = replay.rpartition(".")
    if not (flow and dot and id):
        raise ConfigurationError(f"{replay!r}: write FLOW.ID, as orders.3f2a91c0b7d4")
    return flow, id


def _mode(text: str) -> ReplayMode:
    if text not in get_args(ReplayMode):
        raise ConfigurationError(f"--mode {text!r}: it is state or events")
    return cast(ReplayMode, text)


def _tell_preview(preview: Preview, request: Request) -> None:
    events = [(type or f"(no {CE_TYPE})", n) for type, n in sorted(preview.events.items())]
    if events:
        output.print_table(("type", "events"), events)
    typer.echo(
        f"would send {preview.events.total()} events of {len(preview.keys)} keys to "
        f"{request.destination}, if its routes took every event; nothing was sent"
    )
    if preview.superseded or preview.unfit:
        left_out = f"{preview.superseded} superseded, {preview.unfit} not fitting --where"
        typer.echo(f"would leave out {left_out}")
    if preview.problem:
        typer.echo(f"--where could not be evaluated for some: {preview.problem}")


def _tell_status(status: RequestStatus) -> None:
    request, record = status.request, status.request.to_record()
    typer.echo(f"{request.kind} {request.id} to {request.destination}: {request.state}")
    for name in ("topic", "mode", "key", "where", "rate", "force", "by", "at", "why", "reason"):
        if record.get(name):
            typer.echo(f"  {name}: {record[name]}")
    typer.echo(f"  so far: {output.counts_in_words(status.counts)}")
    output.print_table(output.PARTITION_HEADINGS, output.partition_rows(status))
