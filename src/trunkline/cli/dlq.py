"""``trunkline dlq``: look at dead letters, send them again, or discard them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from heapq import nsmallest
from typing import Annotated

import typer

from trunkline.admin.dead_letters import DeadLetters, open_dead_letters
from trunkline.admin.source_letters import redrive_source
from trunkline.admin.targets import Target
from trunkline.cli import output
from trunkline.cli.environment import backbone_of, file_of, load_checked
from trunkline.cli.letter_options import selects_letters
from trunkline.cli.options import (
    DetachOption,
    EnvOption,
    JsonOption,
    RateOption,
    TargetArgument,
    WhyOption,
)
from trunkline.cli.progress import follow
from trunkline.errors import ConfigurationError
from trunkline.masking import escaped
from trunkline.params import load_params
from trunkline.streams.dlq.letters import DeadLetterFilter
from trunkline.streams.flow.source import AnySource
from trunkline.streams.replay.request import Request
from trunkline.times import parse_rate

dlq_app = typer.Typer(name="dlq", help="Dead letters.", no_args_is_help=True)

SHOWN_REFUSED = 10
"""Letters whose reason is shown that a function refuses again."""

All = Annotated[bool, typer.Option("--all", help="Also those that are handled.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing: show what is meant.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


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
    """List dead letters that nobody has handled yet, the oldest first."""
    found = _opened(destination, env).letters(selection, handled=all_)
    bare = (replace(letter, value=None) for letter in found)  # values may be large
    # The oldest of all partitions: each by itself is in order, but not they together.
    letters = nsmallest(limit + 1, bare, key=lambda letter: letter.time)
    more, letters = len(letters) > limit, letters[:limit]
    if as_json:
        for letter in letters:
            typer.echo(output.dumped(output.letter_as_json(letter), indent=False))
    elif letters:
        output.print_table(output.LETTER_HEADINGS, map(output.letter_row, letters))
    else:
        _tell_none(destination, all_)
    if more:
        typer.echo(f"there are more than {limit}: filter them, or raise --limit", err=True)


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
    """Show one dead letter: headers, key, value, traceback."""
    partition, offset = _place(place)
    opened = _opened(destination, env)
    letter = opened.at(partition, offset)
    value = opened.value(letter)
    if as_json:
        output.print_json(output.whole_as_json(letter, value))
    else:
        typer.echo(output.whole(letter, value))


@dlq_app.command()
@selects_letters
def group(
    destination: TargetArgument,
    selection: DeadLetterFilter,
    all_: All = False,
    as_json: JsonOption = False,
    env: EnvOption = None,
) -> None:
    """Show what dead letters died of.

    Causes, how many letters each, the first and the last time.
    """
    causes = _opened(destination, env).causes(selection, handled=all_)
    if as_json:
        output.print_json([output.cause_as_json(cause) for cause in causes])
    elif causes:
        output.print_table(output.CAUSE_HEADINGS, map(output.cause_row, causes))
    else:
        _tell_none(destination, all_)


@dlq_app.command()
@selects_letters
def redrive(
    destination: TargetArgument,
    selection: DeadLetterFilter,
    limit: Limit = None,
    rate: RateOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what is handled, or overtaken by newer events.")
    ] = False,
    flow: Annotated[
        str | None,
        typer.Option(metavar="FLOW", help="Of a source: the flow's file, which makes the events."),
    ] = None,
    why: WhyOption = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: DetachOption = False,
    env: EnvOption = None,
) -> None:
    """Send dead letters again, to their destination only.

    With the same event ids. The set is fixed when it starts. Workers do it: Ctrl-C ends the
    watching only. Those of a source are published at once, through what the flow's file says today.
    """
    speed = parse_rate(rate) if rate else None
    opened = _opened(destination, env)
    if flow is not None:
        if not opened.is_source:
            raise ConfigurationError(f"--flow is for a source's letters: {opened.target} is none")
        if rate or detach:
            raise ConfigurationError("--rate and --detach are for workers: a source's are sent now")
        _redrive_source(opened, flow, selection, limit, force, why, dry_run, yes, env)
        return
    request = opened.plan_redrive(selection, limit=limit, rate=speed, force=force, why=why)
    if _confirmed(opened, request, dry_run, yes):
        _submit(opened, request, detach)


@dlq_app.command()
@selects_letters
def discard(
    destination: TargetArgument,
    selection: DeadLetterFilter,
    limit: Limit = None,
    why: WhyOption = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    detach: DetachOption = False,
    env: EnvOption = None,
) -> None:
    """Count dead letters as handled without sending them. They stay in the topic: see --all."""
    opened = _opened(destination, env)
    request = opened.plan_discard(selection, limit=limit, why=why)
    if _confirmed(opened, request, dry_run, yes):
        _submit(opened, request, detach)


def _redrive_source(
    opened: DeadLetters,
    file: str,
    selection: DeadLetterFilter,
    limit: int | None,
    force: bool,
    why: str,
    dry_run: bool,
    yes: bool,
    env: str | None,
) -> None:
    """Show what would become of a source's letters, ask, and publish them."""
    loaded = load_checked(file)

    def build() -> AnySource:  # asked for only if there are letters that it must read again
        named = next(one for one in loaded.sources if one.name == opened.target.destination)
        return named(load_params(loaded.params, file_of(env), flow=loaded.name))

    redrive = partial(
        redrive_source, opened, loaded, selection, limit=limit, force=force, build=build
    )
    plan = redrive(dry_run=True)
    for letter, reason in plan.refused[:SHOWN_REFUSED]:
        typer.echo(escaped(f"{letter.place} is refused again: {reason}"), err=True)
    what = f"redrive {_letters(len(plan.sent))} of {opened.target}"
    rest = f"{len(plan.superseded)} superseded, {len(plan.refused)} refused again"
    if plan.left:
        rest += f", {plan.left} left for the next time"
    if dry_run or not (plan.sent or plan.superseded):
        typer.echo(f"would {what} ({rest}); nothing was changed")
        return
    if yes or typer.confirm(f"{what} ({rest})?"):
        done = redrive(why=why)
        typer.echo(f"redrive of {_letters(len(done.sent))} of {opened.target} is done ({rest})")


def _opened(destination: str, env: str | None) -> DeadLetters:
    return open_dead_letters(backbone_of(env), Target.parse(destination))


def _confirmed(opened: DeadLetters, request: Request, dry_run: bool, yes: bool) -> bool:
    """Show what is meant, and ask."""
    if not request.count:
        typer.echo(f"{opened.target}: no dead letters to {request.kind}")
        return False
    output.print_table(output.CAUSE_HEADINGS, map(output.cause_row, opened.causes_of(request)))
    what = f"{request.kind} {_letters(request.count)} of {opened.target}"
    if dry_run:
        typer.echo(f"would {what}; nothing was changed")
        return False
    return yes or typer.confirm(f"{what}?")


def _submit(opened: DeadLetters, request: Request, detach: bool) -> None:
    """Ask for it, and show how far it is. A source's letters are discarded already then."""
    request = opened.submit(request)
    flow, letters = opened.target.flow, _letters(request.count or 0)
    if request.state == "done":
        typer.echo(f"discarded {letters} of {opened.target}")
        return
    typer.echo(f"{request.kind} {flow}.{request.id}: {letters} of {opened.target}")
    follow(opened.backbone, flow, request.id, wait=not detach)


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise ConfigurationError(f"{text!r}: write PARTITION/OFFSET, as `list` shows it")
    return int(partition), int(offset)


def _tell_none(destination: str, all_: bool) -> None:
    typer.echo(f"{destination}: no dead letters{'' if all_ else ' that nobody has handled'}")


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"
