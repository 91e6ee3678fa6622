"""``trunkline run``: the workers of a flow.

The engine is loaded by whoever runs it: it takes nearly half of the time that all commands need to
start, and a plan of fifty flows is to take seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline import logs
from trunkline.cli.environment import prepare
from trunkline.cli.fleet import Fleet
from trunkline.cli.interpreter import event_loop, tune_interpreter
from trunkline.cli.options import EnvOption, HealthPort, LogFormatOption, LogLevelOption
from trunkline.errors import ConfigurationError
from trunkline.streams.plan.acls import WORKER_ROLES
from trunkline.times import parse_duration

if TYPE_CHECKING:
    from trunkline.streams.worker.host import Host
    from trunkline.streams.worker.process import Options, Worker

log = logging.getLogger(__name__)

MOST_DRAIN = 240.0
"""Seconds of the longest ``--drain``."""


def run(
    flows: Annotated[list[str], typer.Argument(metavar="FLOW...", help="Flows' files or modules.")],
    env: EnvOption = None,
    only: Annotated[str, typer.Option(help="Steps to run: source,route,deliver.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    host: Annotated[str, typer.Option(help="Address of the health pages.")] = "127.0.0.1",
    port: HealthPort = 0,
    batch: Annotated[int, typer.Option(min=1, help="Most events in a micro-batch.")] = 5000,
    drain: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            envvar="TRUNKLINE_DRAIN",
            help="How long what is under way may take when it stops.",
        ),
    ] = "30s",
    log_format: LogFormatOption = "auto",
    log_level: LogLevelOption = "info",
) -> None:
    """Run flows until Ctrl-C or SIGTERM.

    Creates missing topics and registers missing schemas, unless the environment says
    create = false. Several flows share a process: one that fails is held and tried again, and the
    others run. With several workers each has its own process, and its health pages at PORT,
    PORT + 1 and so on.
    """
    from trunkline.cli.hosting import hosted
    from trunkline.streams.worker.process import Options

    logs.set_up(log_format, log_level)
    roles, seconds = _roles(only), _drain(drain)
    options = Options(roles, host, port or None, batch, drain=seconds)
    # In the parent of a fleet, too, though only the workers use it: a mistake in the flow is told
    # once and ends the command, instead of being restarted in each worker.
    runnable = (
        _one(flows[0], env or "", options) if len(flows) == 1 else hosted(flows, env or "", options)
    )
    if workers > 1:
        Fleet(workers, port).run()
        return
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        runner.run(_until_signal(runnable))


def _one(flow: str, env: str, options: Options) -> Worker:
    from trunkline.streams.worker.process import Worker

    loaded, params, backbone, alerts = prepare(flow, env)
    logs.speak_for(loaded.name)
    return Worker(loaded, params, backbone, options, alerts, leave=os._exit)


def _roles(only: str) -> tuple[str, ...]:
    roles = tuple(part.strip() for part in only.split(",") if part.strip()) or WORKER_ROLES
    unknown = sorted(set(roles) - set(WORKER_ROLES))
    if unknown:
        raise ConfigurationError(
            f"--only {', '.join(unknown)}: the steps are {', '.join(WORKER_ROLES)}"
        )
    return roles


def _drain(text: str) -> float:
    seconds = parse_duration(text)
    # A consumer that does not poll for 300 s is taken for dead, and what it has done meanwhile is
    # not committed: so longer would repeat what it was meant to save.
    if seconds > MOST_DRAIN:
        raise ConfigurationError(f"--drain {text}: at most {MOST_DRAIN:.0f}s")
    return seconds


async def _until_signal(worker: Worker | Host) -> None:
    tune_interpreter()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await worker.run(stop)
    log.info("stopped; everything under way is committed")
