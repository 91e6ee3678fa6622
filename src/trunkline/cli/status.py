"""``trunkline status``: whether all is well with flows; if not what, where, since when, and what to
do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from trunkline.admin.health import (
    DestinationFigures,
    FlowFigures,
    LetterFigures,
    SourceFigures,
    flow_figures,
)
from trunkline.admin.measures import Measure, age
from trunkline.admin.verdicts import Trouble, troubles
from trunkline.cli.environment import backbone_of
from trunkline.cli.options import EnvOption, JsonOption
from trunkline.cli.output import dumped, print_table
from trunkline.cli.source import phase_in_words
from trunkline.masking import escaped
from trunkline.params import Backbone
from trunkline.streams.flow.loading import load
from trunkline.times import format_duration, iso

TROUBLE = 2
"""The exit code where something is urgent."""
SOURCES = ("source", "state", "rate", "late", "dead letters", "position")
DESTINATIONS = (
    *("destination", "state", "workers", "rate", "not delivered", "lag"),
    *("waiting", "next due", "dead letters"),
)
EVERY = 5.0
"""Seconds between two looks of ``--watch``."""


def status(
    flows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FLOW]...",
            help="Names or files of flows; all that have run there by default.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every 5 seconds, until Ctrl-C.")
    ] = False,
    env: EnvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how flows are: is all well, and if not what.

    Where it is, since when, and what to do. Read from Kafka, so that it is true without workers,
    too. Exit code 0: all is well, or nothing is urgent; 2: something does not go on by itself; 1:
    it cannot be told.
    """
    names, backbone = [_name(flow) for flow in flows or ()], backbone_of(env)
    urgent = _show(backbone, names, as_json=as_json)
    while watch:
        try:
            time.sleep(EVERY)
            if not as_json:
                Console().clear()
            urgent = _show(backbone, names, as_json=as_json)
        except KeyboardInterrupt:
            break
    if urgent:
        raise typer.Exit(TROUBLE)


def _name(flow: str) -> str:
    """A flow's name, which may be given by its file."""
    return load(flow).name if flow.endswith(".py") else flow


def _show(backbone: Backbone, names: Sequence[str], *, as_json: bool) -> bool:
    """Look and tell; returns whether something is urgent."""
    found = flow_figures(backbone, names)
    told = {one.flow: troubles(one) for one in found}
    urgent = any(trouble.urgent for every in told.values() for trouble in every)
    if as_json:
        flows = [as_json_of(one, told[one.flow]) for one in found]
        typer.echo(dumped({"well": not any(told.values()), "flows": flows}, indent=False))
        return urgent
    for one in found:
        _print_flow(one)
    if not found:
        typer.echo(f"no flow has run at {backbone.bootstrap} yet")
    for trouble in sorted(
        (t for every in told.values() for t in every), key=lambda t: not t.urgent
    ):
        for line in trouble_in_words(trouble):
            typer.echo(escaped(line))
    if found and not any(told.values()):
        typer.echo("all is well")
    return urgent


def _print_flow(flow: FlowFigures) -> None:
    if flow.sources:
        print_table(SOURCES, [_source_row(one) for one in flow.sources])
        typer.echo()
    if flow.routing is not None:
        measure = flow.routing.all
        routed = (f"{flow.flow} (route)", flow.routing.members, *_flow_of(measure, flow.at))
        print_table(("routing", "workers", "rate", "not routed", "lag"), [routed])
        typer.echo()
    if flow.destinations:
        print_table(DESTINATIONS, [_destination_row(one, flow.at) for one in flow.destinations])
        typer.echo()


def _source_row(one: SourceFigures) -> tuple[object, ...]:
    found, status = one.overview, one.overview.status
    position = found.position if isinstance(found.position, dict) else {}
    phase = phase_in_words(position)
    stored = "" if found.stored_at is None else f"stored {_clock(found.stored_at.timestamp())}"
    running = [f"{s.id} {s.table}: {s.rows:,} rows" for s in found.snapshots]
    return (
        found.target,
        state_of_source(one),
        "" if status is None else _rate(status.rate),
        "" if found.late is None else format_duration(found.late),
        _letters(one.letters),
        "; ".join(filter(None, (phase, stored, *running))) or "none",
    )


def state_of_source(one: SourceFigures) -> str:
    """A source's state as one word, or some."""
    found, status = one.overview, one.overview.status
    if found.in_force == "paused":
        return "paused"
    if status is not None and not status.stale:
        return status.state
    return "starting" if found.members else "no worker"


def state_of_destination(one: DestinationFigures) -> str:
    """A destination's states in its workers."""
    found = one.overview
    if found.in_force == "paused":
        return "paused"
    if not found.members:
        return "no worker"
    states = {worker.state for worker in found.workers if not worker.stale}
    forced = ["forced"] if found.in_force == "forced" else []
    return ", ".join([*forced, *sorted(states)]) or "closed"


def _destination_row(one: DestinationFigures, now: float) -> tuple[object, ...]:
    due = one.retries.next_due
    return (
        one.overview.target,
        state_of_destination(one),
        one.overview.members,
        *_flow_of(one.inbox, now),
        _count(one.retries),
        "" if due is None else ("now" if due <= now else f"in {format_duration(due - now)}"),
        _letters(one.letters),
    )


def _flow_of(measure: Measure, now: float) -> tuple[str, str, str]:
    return _rate(measure.rate), _count(measure), format_duration(age(measure.oldest, now))


def _count(measure: Measure) -> str:
    return f"{'' if measure.exact else '≤ '}{measure.waiting:,}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 or not rate else f"{rate:.2g}/s"


def _letters(letters: LetterFigures) -> str:
    return f"{letters.count:,}{'' if letters.exact else '+'}"


def _clock(at: float) -> str:
    return iso(at)[:19] + "Z"


def trouble_in_words(trouble: Trouble) -> Iterator[str]:
    """A trouble in two lines."""
    kind = "wrong" if trouble.urgent else "warning"
    since = "" if trouble.since is None else f" (since {trouble.since[:19]}Z)"
    yield f"{kind}: {trouble.where}: {trouble.what}{since}"
    yield f"    to mend it: {trouble.mend}"


def as_json_of(flow: FlowFigures, told: Sequence[Trouble]) -> dict[str, Any]:
    """What ``--json`` says of a flow."""
    routing = flow.routing
    return {
        "flow": flow.flow,
        "at": iso(flow.at),
        "troubles": [asdict(one) for one in told],
        "sources": [
            {
                **asdict(one.overview),
                "target": str(one.overview.target),
                "state": state_of_source(one),
                "letters": asdict(one.letters),
            }
            for one in flow.sources
        ],
        "routing": None
        if routing is None
        else {
            "members": routing.members,
            "topics": {name: _measure(one) for name, one in routing.topics.items()},
            "workers": [asdict(one) for one in routing.workers],
        },
        "destinations": [
            {
                "target": str(one.overview.target),
                "state": state_of_destination(one),
                "in_force": one.overview.in_force,
                "command": one.overview.override.value(),
                "members": one.overview.members,
                "workers": [asdict(worker) for worker in one.overview.workers],
                "inbox": _measure(one.inbox),
                "retries": _measure(one.retries),
                "letters": asdict(one.letters),
            }
            for one in flow.destinations
        ],
    }


def _measure(measure: Measure) -> dict[str, Any]:
    """Times as ISO 8601."""
    times = {name: getattr(measure, name) for name in ("oldest", "next_due", "error_at")}
    return {
        **asdict(measure),
        **{name: None if at is None else iso(at) for name, at in times.items()},
    }
