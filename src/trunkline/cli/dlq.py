"""``trunkline dlq``: look at dead letters, send them again, or discard them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated

import typer

from trunkline import kafka
from trunkline.admin.dead_letters import discard_of_source, discarded
from trunkline.admin.replays import submit
from trunkline.admin.targets import Target, require_destination
from trunkline.cli import output as shown
from trunkline.cli.environment import backbone_of
from trunkline.cli.letter_options import selects_letters
from trunkline.cli.options import EnvOption, JsonOption, TargetArgument, WhyOption
from trunkline.cli.progress import follow
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.dlq.letters import DeadLetterFilter
from trunkline.streams.dlq.queue import DeadLetterQueue, HandledLetters, covering_ranges, grouped
from trunkline.streams.replay.request import Request, RequestKind
from trunkline.times import parse_rate

dlq_app = typer.Typer(name="dlq", help="Dead letters.", no_args_is_help=True)

All = Annotated[bool, typer.Option("--all", help="Also those that are handled.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many.")]
Rate = Annotated[str | None, typer.Option(metavar="RATE", help="As 50/s or 300/m.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing: show what is meant.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once: workers do it.")]


@dlq_app.callback()
def _group() -> None:
    """Dead letters: look at them, send them again, or discard them."""


@dlq_app.command(name="list")
@selects_letters
def list_(
    destination: TargetArgument,
    selection: DeadLetterFilter,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    all_: All = False,
    as_json: JsonOption = False,
    env: EnvOption = None,
) -> None:
    """List dead letters that nobody has handled yet, of a destination or a source."""
    found = _Opened.of(destination, env).queue.letters(selection, handled=all_)
    bare = (replace(letter, value=None) for letter in found)  # values may be large
    letters = list(islice(bare, limit + 1))
    more, letters = len(letters) > limit, sorted(letters[:limit], key=lambda letter: letter.time)
    if as_json:
        for letter in letters:
            typer.echo(shown.dumped(shown.as_json(letter), indent=False))
        return
    if letters:
        shown.print_table(shown.ROW, map(shown.row, letters))
    else:
        _none(destination, all_)
    if more:
        typer.echo(f"there are more than {limit}: filter them, or raise --limit")


@dlq_app.command()
def show(
    destination: TargetArgument,
    place: Annotated[
        str,
        typer.Argument(metavar="PARTITION/OFFSET", help="As `list` shows it.", show_default=False),
    ],
    as_json: JsonOption = False,
    env: EnvOption = None,
) -> None:
    """Show everything of one dead letter: headers, key, value, traceback."""
    opened = _Opened.of(destination, env)
    partition, offset = _place(place)
    letter = opened.queue.at(partition, offset)
    if letter is None:
        raise ConfigurationError(f"{opened.target.dlq} has no dead letter at {place}")
    with closing(registry_of(opened.backbone)) as registry:
        decode = Codec(registry).decode_any
        if as_json:
            typer.echo(shown.dumped(shown.whole_as_json(letter, decode)))
        else:
            typer.echo(shown.whole(letter, decode))


@dlq_app.command()
@selects_letters
def group(
    destination: TargetArgument,
    selection: DeadLetterFilter,
    all_: All = False,
    as_json: JsonOption = False,
    env: EnvOption = None,
) -> None:
    """Show what dead letters died of: causes, how many letters each, the first and last time."""
    causes = grouped(_Opened.of(destination, env).queue.letters(selection, handled=all_))
    if as_json:
        typer.echo(shown.dumped([shown.cause_as_json(cause) for cause in causes]))
    elif causes:
        shown.print_table(shown.CAUSE_ROW, map(shown.cause_row, causes))
    else:
        _none(destination, all_)


@dlq_app.command()
@selects_letters
def redrive(
    destination: TargetArgument,
    selection: DeadLetterFilter,
    limit: Limit = None,
    rate: Rate = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what is handled, or overtaken by newer events.")
    ] = False,
    why: WhyOption = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: Detach = False,
    env: EnvOption = None,
) -> None:
    """Send dead letters again, to their destination only and with the same event ids.

    The set is fixed when it starts. Workers do it: Ctrl-C ends the watching only.
    """
    opened = _Opened.of(destination, env)
    if opened.is_source:
        raise ConfigurationError(_NO_REDRIVE.format(source=destination))
    request = opened.request("redrive", selection, limit, why, force=force)
    request = replace(request, rate=parse_rate(rate) if rate else None)
    if _confirmed(opened, request, dry_run, yes):
        _start(opened, request, detach)


@dlq_app.command()
@selects_letters
def discard(
    destination: TargetArgument,
    selection: DeadLetterFilter,
    limit: Limit = None,
    why: WhyOption = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: Detach = False,
    env: EnvOption = None,
) -> None:
    """Count dead letters as handled without sending them. They stay in the topic: see --all."""
    opened = _Opened.of(destination, env)
    request = opened.request("discard", selection, limit, why)
    if not _confirmed(opened, request, dry_run, yes):
        return
    if opened.is_source:
        _discard_of_source(opened, request)
    else:
        _start(opened, request, detach)


_NO_REDRIVE = (
    "{source} is a source: its dead letters never became events, so there is nothing to send "
    "again. Mend what refused them, let the source tell these records again (change the rows, or "
    "call the webhook again), then discard the letters"
)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A dead-letter queue as it is now, and whose it is."""

    target: Target
    backbone: Backbone
    is_source: bool
    queue: DeadLetterQueue

    @classmethod
    def of(cls, destination: str, env: str | None) -> _Opened:
        meant, backbone = Target.parse(destination), backbone_of(env)
        topics = kafka.existing_topics(kafka.admin(backbone))
        if meant.dlq not in topics:
            require_destination(backbone, meant)
            raise ConfigurationError(f"{meant} has no dead-letter queue (no topic {meant.dlq!r})")
        handled = HandledLetters(read_control(backbone, meant.control), meant.destination)
        queue = DeadLetterQueue(backbone, meant.dlq, handled)
        return cls(meant, backbone, meant.inbox not in topics, queue)

    def request(
        self,
        kind: RequestKind,
        selection: DeadLetterFilter,
        limit: int | None,
        why: str,
        *,
        force: bool = False,
    ) -> Request:
        """What is asked for; the letters that are meant are counted."""
        meant = self.queue.letters(selection, handled=force)
        ranges, count = covering_ranges(islice(meant, limit))
        return Request(
            kind=kind,
            destination=self.target.destination,
            ranges=ranges,
            selection=selection,
            limit=limit,
            force=force,
            why=why,
            count=count,
        )


def _confirmed(opened: _Opened, request: Request, dry_run: bool, yes: bool) -> bool:
    """Show what is meant, and ask."""
    if not request.count:
        typer.echo(f"{opened.target}: no dead letters to {request.kind}")
        return False
    meant = opened.queue.letters(request.selection, handled=request.force)
    shown.print_table(shown.CAUSE_ROW, map(shown.cause_row, grouped(islice(meant, request.limit))))
    what = f"{request.kind} {_letters(request.count)} of {opened.target}"
    if dry_run:
        typer.echo(f"would {what}; nothing was changed")
        return False
    return yes or typer.confirm(f"{what}?")


def _start(opened: _Opened, request: Request, detach: bool) -> None:
    id = submit(opened.backbone, opened.target.flow, request)
    flow = opened.target.flow
    typer.echo(f"{request.kind} {flow}.{id}: {_letters(request.count or 0)} of {opened.target}")
    follow(opened.backbone, flow, id, wait=not detach)


def _discard_of_source(opened: _Opened, request: Request) -> None:
    """At once: no worker routes a source's dead letters."""
    letters = opened.queue.letters(handled=True)
    handled, count = discarded(letters, request.selection, request.limit)
    meant = opened.target
    discard_of_source(opened.backbone, meant.flow, meant.destination, handled, count, request.why)
    typer.echo(f"discarded {_letters(count)} of {meant}")


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise ConfigurationError(f"{text!r}: write PARTITION/OFFSET, as `list` shows it")
    return int(partition), int(offset)


def _none(destination: str, all_: bool) -> None:
    typer.echo(f"{destination}: no dead letters{'' if all_ else ' that nobody has handled'}")


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"
