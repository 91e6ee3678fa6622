"""Servers started side by side, watched, started again when they die, and stopped together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

from trunkline.local.process import POLL_SECONDS, Child, ProcessError, ending
from trunkline.local.server import Server
from trunkline.local.state import Status

RESTARTS, RESTARTS_SECONDS = 5, 600.0
WATCH_SECONDS = 0.25


@dataclass
class _Member:
    server: Server
    child: Child | None = None
    up: bool = False
    restarts: int = 0
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS + 1))

    @property
    def is_dead(self) -> bool:
        """It ran and ended; one that ended at its first start is an error of its own."""
        return self.child is not None and not self.child.alive and (self.up or self.restarts > 0)

    @property
    def is_hopeless(self) -> bool:
        return len(self.deaths) > RESTARTS and self.deaths[-1] - self.deaths[0] < RESTARTS_SECONDS

    @property
    def status(self) -> Status:
        state = "waiting" if self.child is None else "up" if self.up else "starting"
        pid = self.child.pid if self.child else None
        return Status(self.server.name, state, self.server.address, pid, self.restarts)


class Supervisor:
    """``changed`` is called when any server's status is another; ``report`` says it in words."""

    def __init__(
        self,
        servers: Sequence[Server],
        changed: Callable[[Sequence[Status]], None],
        report: Callable[[str], None],
    ) -> None:
        self._members = [_Member(server) for server in servers]
        self._changed = changed
        self._report = report

    def status(self) -> list[Status]:
        """Each server as it was last seen, in the order given. Any thread may ask."""
        return [member.status for member in self._members]

    def run(self, stopping: Event, settled: Event) -> None:
        """Start the servers and keep them alive until ``stopping``; ``settled``: all came up.

        The thread that calls this must live on for as long as its children. Raises ProcessError
        when a server does not start, or died too often; no child is left then either.
        """
        try:
            self._start()
            while not stopping.is_set():
                self._look()
                if all(member.up for member in self._members):
                    settled.set()
                stopping.wait(WATCH_SECONDS if settled.is_set() else POLL_SECONDS)
        finally:
            self._stop()

    def _start(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda member: member.server.prepare(), self._members))
        self._begin_those_whose_turn_it_is()
        self._changed(self.status())

    def _begin_those_whose_turn_it_is(self) -> None:
        up = {member.server.name for member in self._members if member.up}
        for member in self._members:
            if member.child is None and up.issuperset(member.server.after):
                member.child = Child(member.server.command())

    def _look(self) -> None:
        before = self.status()
        for member in self._members:
            if member.child and member.is_dead:
                self._revive(member, member.child)
            elif member.child and not member.up and member.child.is_ready():
                member.up = True
                self._report(f"{member.server.name} is up: {member.server.address}")
        self._begin_those_whose_turn_it_is()
        if self.status() != before:
            self._changed(self.status())

    def _revive(self, member: _Member, dead: Child) -> None:
        name = member.server.name
        member.deaths.append(time.monotonic())
        if member.is_hopeless:
            raise ProcessError(
                f"{name} {dead.ending} again, after {RESTARTS} restarts: giving up"
                f"{ending(dead.command)}"
            )
        self._report(f"{name} {dead.ending}: starting it again with the same data")
        member.up, member.restarts = False, member.restarts + 1
        member.child = Child(member.server.command())

    def _stop(self) -> None:
        """Last started, first stopped: the registry still finds Kafka when it says goodbye."""
        for member in reversed(self._members):
            if member.child is not None:
                member.child.stop()
