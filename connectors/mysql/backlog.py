"""How much of the log waits for a source, and when the server purges what it still needs.

The server tells files and their sizes, not when they were written. A file is purged once it was not
written to for longer than ``binlog_expire_logs_seconds``: the time in the first event of the file
behind it tells since when it was not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trunkline.connectors.base import Gauge, Position
from trunkline.connectors.mysql import preflight
from trunkline.connectors.mysql.names import BEGIN_ANEW
from trunkline.connectors.mysql.session import Session, connect
from trunkline.connectors.mysql.stream import begun_at

_LITTLE = 0.25
"""The part of a limit that must be left, or people are told."""
_LIMITS = ("max_binlog_total_size", "binlog_space_limit")


class Backlog:
    """Asks a server for its log. ``server_id``: as which replica the begin of a file is read; no
    other reader may have it."""

    def __init__(self, arguments: Mapping[str, Any], server_id: int) -> None:
        self._arguments = arguments
        self._server_id = server_id
        self._begun: dict[str, int] = {}  # the file that was asked for last, and its first time

    def gauges(self, position: Position, stop: threading.Event) -> Sequence[Gauge]:
        """What is known of the log behind a position. Raises SourceError, Stopped."""
        session = connect(self._arguments, stop)
        try:
            server = preflight.ask(session)
            if position["server"] != server.identity:  # the log is another one: the source says so
                return []
            files = [(str(row[0]), int(row[1])) for row in session.rows("SHOW BINARY LOGS")]
            names = [name for name, _ in files]
            if position["file"] not in names:
                return [_purged(position["file"])]
            waits = files[names.index(position["file"]) :]
            behind = sum(size for _, size in waits) - position["at"]
            return [
                Gauge("behind_bytes", float(max(0, behind)), f"{max(0, behind):,} B"),
                *_space(server, waits),
                *self._time(session, server, waits, stop),
            ]
        finally:
            session.close()

    def _time(
        self,
        session: Session,
        server: preflight.Server,
        waits: Sequence[tuple[str, int]],
        stop: threading.Event,
    ) -> Iterator[Gauge]:
        """Seconds until the position's file may be purged. Nothing of the newest file, which never
        is, and where files are kept for ever."""
        kept = int(float(server.variables.get("binlog_expire_logs_seconds", "0") or 0))
        if len(waits) < 2 or kept <= 0:
            return
        following = waits[1][0]
        if following not in self._begun:
            began = begun_at(self._arguments, server, self._server_id, following, stop)
            self._begun = {following: began}
        ((now,),) = session.rows("SELECT UNIX_TIMESTAMP()")
        left, warning = self._begun[following] + kept - int(now), ""
        if left < _LITTLE * kept:
            warning = (
                f"the server may purge {waits[0][0]}, of which the source has not read all, in "
                f"{max(0, left):,} s (binlog_expire_logs_seconds is {kept:,}): let the source "
                "catch up, or keep the log for longer: SET GLOBAL binlog_expire_logs_seconds = …;"
            )
        yield Gauge("left_seconds", float(left), f"{left:,} s", warning)


def _space(server: preflight.Server, waits: Sequence[tuple[str, int]]) -> Iterator[Gauge]:
    """Bytes that may still be written before the position's file is purged for its size."""
    for name in _LIMITS:
        limit = int(float(server.variables.get(name, "0") or 0))
        if limit <= 0:
            continue
        left, warning = limit - sum(size for _, size in waits), ""
        if len(waits) > 1 and left < _LITTLE * limit:
            warning = (
                f"the server purges {waits[0][0]}, of which the source has not read all, when "
                f"{max(0, left):,} more bytes are written ({name} is {limit:,}): let the source "
                f"catch up, or raise the limit: SET GLOBAL {name} = …;"
            )
        yield Gauge("left_bytes", float(left), f"{left:,} B", warning)
        return


def _purged(file: str) -> Gauge:
    warning = (
        f"the server has purged {file}, of which the source has not read all: changes are lost to "
        f"it. {BEGIN_ANEW}"
    )
    return Gauge("left_seconds", 0.0, "0 s", warning)
