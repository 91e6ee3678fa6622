"""``trunkline replay``: send past events to one destination again, and watch or stop that."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated, Any, cast, get_args

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from trunkline import naming
from trunkline.admin.replay_scope import Bound, Preview, ReplayScope
from trunkline.admin.replays import change, submit, totals
from trunkline.admin.targets import Target, require_destination
from trunkline.cli import output as shown
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import TIME_HELP, EnvOption, JsonOption, WhyOption
from trunkline.cli.progress import follow
from trunkline.errors import ConfigurationError
from trunkline.headers import CE_TYPE
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.control.topic import Value
from trunkline.streams.replay.predicate import Predicate
from trunkline.streams.replay.request import PartitionProgress, ReplayMode, Request, RequestState
from trunkline.times import parse_rate, parse_time


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
    rate: Annotated[str | None, typer.Option(metavar="RATE", help="As 100/s or 300/m.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Mode events even if the sink overwrites.")
    ] = False,
    why: WhyOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: count what would be sent.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once: workers do it.")
    ] = False,
    env: EnvOption = None,
) -> None:
    """Send past events to one destination again, through today's route.

    The set is fixed when it starts. Workers do it: Ctrl-C ends the watching only.
    """
    meant, backbone = Target.parse(to), backbone_of(env)
    require_destination(backbone, meant)
    routed = ReplayScope(backbone, meant.flow, topic)
    request = Request(
        kind="replay",
        destination=meant.destination,
        ranges=routed.ranges(_bound(from_), _bound(until)),
        mode=_mode(mode),
        key=key,
        where=Predicate(where).text if where else None,
        rate=parse_rate(rate) if rate else None,
        force=force,
        why=why,
    )
    if dry_run:
        _tell_count(_counted(routed, request, backbone), request)
        return
    id = submit(backbone, meant.flow, request)
    size = sum(map(len, request.ranges.values()))
    typer.echo(f"replay {id}: {topic} to {meant}, at most {size} events")
    typer.echo(f"watch it: trunkline replay status {meant.flow}.{id} (or pause, cancel, continue)")
    follow(backbone, meant.flow, id, wait=not detach)


@replay_app.command(name="list")
def list_(flow: Flow, as_json: JsonOption = False, env: EnvOption = None) -> None:
    """List a flow's replays, re-drives and discards, the newest first."""
    rows = _all(read_control(backbone_of(env), naming.control(flow)))
    if as_json:
        typer.echo(shown.dumped(rows))
    elif rows:
        shown.print_table(
            ("id", "what", "to", "state", "asked for", "by", "so far"), [_row(r) for r in rows]
        )
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
    flow, id = _named(replay)
    backbone = backbone_of(env)
    state = read_control(backbone, naming.control(flow))
    found = [one for one in _all(state) if one["id"] == id]
    if not found:
        raise ConfigurationError(f"{flow} has no replay {id!r}: trunkline replay list {flow}")
    if as_json:
        typer.echo(shown.dumped(found[0]))
        return
    _tell_status(found[0])
    if watch:
        follow(backbone, flow, id, wait=True)


@replay_app.command()
def pause(replay: Id, why: WhyOption = "", env: EnvOption = None) -> None:
    """Hold a replay: what is sent is sent, nothing more until `continue`."""
    _change(replay, "paused", why, env)


@replay_app.command()
def cancel(replay: Id, why: WhyOption = "", env: EnvOption = None) -> None:
    """End a replay for good: what is sent is sent."""
    _change(replay, "cancelled", why, env)


@replay_app.command(name="continue")
def continue_(replay: Id, why: WhyOption = "", env: EnvOption = None) -> None:
    """Go on with a paused replay."""
    _change(replay, "running", why, env)


def _change(replay: str, state: RequestState, why: str, env: str | None) -> None:
    flow, id = _named(replay)
    request = change(backbone_of(env), flow, id, state, why)
    typer.echo(f"{request.kind} {id}: {request.state}")


def _named(replay: str) -> tuple[str, str]:
    flow, dot, id = replay.rpartition(".")
    if not (flow and dot and id):
        raise ConfigurationError(f"{replay!r}: write FLOW.ID, as orders.3f2a91c0b7d4")
    return flow, id


def _mode(text: str) -> ReplayMode:
    for mode in get_args(ReplayMode):
        if text == mode:
            return cast(ReplayMode, mode)
    raise ConfigurationError(f"--mode {text!r}: it is state or events")


def _bound(text: str) -> Bound:
    """Where a range begins or ends: a time, an offset of each partition, or nothing."""
    if not text:
        return None
    # Digits alone are an offset, though 20300531 would be a day in ISO 8601, too.
    return int(text) if text.isdecimal() else parse_time(text, time.time())


def _counted(routed: ReplayScope, request: Request, backbone: Backbone) -> Preview:
    with closing(registry_of(backbone)) as registry:
        return routed.count(request, Codec(registry).decode_any)


def _tell_count(count: Preview, request: Request) -> None:
    rows = [(kind or f"(no {CE_TYPE})", str(n)) for kind, n in sorted(count.events.items())]
    if rows:
        shown.print_table(("type", "events"), rows)
    typer.echo(
        f"would send {count.events.total()} events of {len(count.keys)} keys to "
        f"{request.destination}, as far as its routes take them; nothing was sent"
    )
    if count.superseded or count.unfit:
        typer.echo(f"not sent: {count.superseded} superseded, {count.unfit} not fitting --where")
    if count.problem:
        typer.echo(f"--where could not be evaluated for some: {count.problem}")


def _all(state: dict[str, Value]) -> list[dict[str, Any]]:
    """Every request with its id, what was done, and how far its partitions are."""
    found: dict[str, dict[str, Any]] = {}
    for text in sorted(state):
        key = ReplayKey.parse(text)
        if key is None:
            continue
        id, place = key.id, key.partition
        if place is None:
            found[id] = {"id": id, **state[text], "counts": totals(state, id), "partitions": {}}
        elif id in found:
            found[id]["partitions"][f"{place[0]}/{place[1]}"] = state[text]
    return sorted(found.values(), key=lambda one: str(one.get("at")), reverse=True)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    names = ("id", "kind", "destination", "state", "at", "by")
    return (*(str(one.get(name, "")) for name in names), _so_far(one["counts"]))


def _so_far(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing yet"


def _tell_status(one: dict[str, Any]) -> None:
    asked = ("topic", "mode", "key", "where", "rate", "force", "by", "at", "why", "reason")
    typer.echo(f"{one['kind']} {one['id']} to {one['destination']}: {one['state']}")
    for name in asked:
        if one.get(name):
            typer.echo(f"  {name}: {one[name]}")
    typer.echo(f"  so far: {_so_far(one['counts'])}")
    table = Table("partition", "next", "range", "so far", box=None)
    for name, value in one["partitions"].items():
        progress = PartitionProgress.from_record(value)
        range_ = one["ranges"].get(name)
        table.add_row(
            name,
            "done" if progress.done else str(progress.next),
            "" if range_ is None else f"{range_[0]} to {range_[1]}",
            _so_far(dict(progress.counts)),
        )
    Console().print(table)
