"""What a source reads: its server, its tables, and as whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.connectors.mysql import preflight
from trunkline.connectors.mysql.names import refuse
from trunkline.connectors.mysql.preflight import Server
from trunkline.connectors.mysql.session import Session, Stopped, connect
from trunkline.errors import SourceError

_WAIT = 0.2
_HANDOVER = 10.0
"""Seconds that another reader of our server_id may still be there: the worker before us."""
LAST_ID = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Capture:
    """``arguments``: of the driver. ``server_id``: as which replica it reads. ``batch``: records of
    a batch. ``swaps``: whether a table that takes the place of one of ours is taken for it.
    ``stop`` interrupts every question."""

    arguments: Mapping[str, Any]
    tables: Sequence[str]
    server_id: int
    batch: int
    swaps: bool
    stop: threading.Event

    @property
    def asks_as(self) -> int:
        """The number of a second reader of the log, beside the one that has ``server_id``."""
        return beside(self.server_id)

    def connected(self) -> Session:
        """A session. Raises as ``connect``."""
        return connect(self.arguments, self.stop)

    def prepared(self, session: Session) -> Server:
        """What the server is; raises ConfigurationError for what is to be set otherwise."""
        server = preflight.ask(session)
        databases = {stream.split(".", 1)[0] for stream in self.tables}
        refuse(preflight.faults(session, server, sorted(databases)))
        return server

    def wait_for_predecessor(self, session: Session) -> None:
        """Two readers of one server_id would end each other's connection for ever."""
        deadline = time.monotonic() + _HANDOVER
        while preflight.others_of(session, self.server_id):
            if time.monotonic() > deadline:
                raise SourceError(
                    f"another replica or source reads with server_id {self.server_id}: if that is "
                    "none of this source's workers, give this one another number with server_id="
                )
            if self.stop.wait(_WAIT):
                raise Stopped


def beside(server_id: int) -> int:
    """Another number than this one."""
    return server_id % LAST_ID + 1
