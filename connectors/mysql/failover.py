"""A position that is of another server's log: where it is in the log of a server that took over.

MariaDB's GTIDs tell. The new server is asked for its log as a replica asks that has everything up
to the position: MariaDB documentation, "Global Transaction ID", of @slave_connect_state and
@slave_gtid_strict_mode. It refuses if one of the transactions is not in its log, or what follows is
purged. The first transaction that it sends begins at the place that is looked for; and there its
log must have exactly what was read, in all domains: else it has other transactions in between, or
the domains in another order, and to go on from there would leave out some or repeat others.

MySQL's GTIDs would tell, too, but a position does not have the set of all that were executed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from pymysql.constants import COMMAND

from trunkline.connectors.base import Position
from trunkline.connectors.mysql import events, snapshot
from trunkline.connectors.mysql.capture import Capture
from trunkline.connectors.mysql.names import BEGIN_ANEW
from trunkline.connectors.mysql.places import Place
from trunkline.connectors.mysql.preflight import Server, master_status
from trunkline.connectors.mysql.session import Session, Stopped
from trunkline.connectors.mysql.stream import (
    NON_BLOCK,
    SILENCE,
    begun_at,
    dump,
    register,
    set_up,
)
from trunkline.errors import ConfigurationError, SourceError

log = logging.getLogger(__name__)

_OK, _END = 0x00, 0xFE
_PURGED = ("could not find gtid state", "purged")


def followed(capture: Capture, session: Session, server: Server, position: Position) -> Position:
    """The position in the log of this server, behind the same transactions.

    A transaction that was given out in part is given out again from its begin: a replica may have
    written its rows into its own log in other events. Raises ConfigurationError if a transaction is
    missing, or would be passed over or repeated; SourceError if the server cannot be asked.
    """
    gtids = position["gtids"]
    if not server.maria or not gtids:
        raise ConfigurationError(_other(server, position, "nobody can tell where that is"))
    if errant := _errant(snapshot.written(session), position):
        raise ConfigurationError(_other(server, position, errant))
    place = _place(capture, session, server, position)
    found = snapshot.gtids_at(session, place.file, place.at)
    if found != gtids:
        raise ConfigurationError(_other(server, position, _differing(found)))
    made = begun_at(capture.arguments, server, capture.asks_as, place.file, capture.stop)
    log.warning(
        "server %s has taken over from %s: its log has all that was read (%s), and the source goes "
        "on in it at %s:%d",
        server.identity,
        position["server"],
        _listed(gtids),
        place.file,
        place.at,
    )
    of_it = {"server": server.identity, "file": place.file, "at": place.at, "made": made}
    return position | of_it | {"events": 0}


def _errant(written: Mapping[str, int], position: Position) -> str:
    """Transactions of this server's log, among those that were read, that nobody has read.

    Case: a replica had 0-1-4 when somebody wrote into it, 0-2-5; then it got 0-1-5, which is where
    the position is. What follows is all there, and 0-2-5 would never be told.
    """
    newest = [gtid.rpartition("-") for gtid in position["gtids"].values()]
    read = position.get("written") or {writer: int(number) for writer, _, number in newest}
    last = {writer.partition("-")[0]: int(number) for writer, _, number in newest}
    for writer, number in written.items():
        domain = writer.partition("-")[0]
        if number <= last.get(domain, 0) and number > read.get(writer, 0):
            return (
                f"its log has {writer}-{number}, which was written into it while the former server "
                "was the primary, and which the source has not read"
            )
    return ""


def _place(capture: Capture, session: Session, server: Server, position: Position) -> Place:
    """Where the first transaction begins that was not read; the log's end, if there is none."""
    asking, end = capture.connected(), _end(session)
    try:
        set_up(asking, server)
        asking.run("SET @slave_connect_state = %s", _listed(position["gtids"]))
        asking.run("SET @slave_gtid_strict_mode = 1")
        register(asking, capture.asks_as)
        packets = asking.send(
            COMMAND.COM_BINLOG_DUMP, dump(capture.asks_as, Place("", 4), NON_BLOCK)
        )
        file, deadline = "", time.monotonic() + SILENCE
        while time.monotonic() < deadline:
            if capture.stop.is_set():
                raise Stopped
            for payload in packets.receive():
                deadline = time.monotonic() + SILENCE
                if payload[0] == _END:
                    return _unmoved(session, end)
                if payload[0] != _OK:
                    raise ConfigurationError(_other(server, position, _refusal(payload)))
                header = events.header_of(payload[1:])
                if header.type == events.ROTATE:
                    checked = events.has_checksum(payload[1:])
                    _, file = events.rotated(events.body_of(payload[1:], checked))
                elif header.type == events.MARIA_GTID and not header.artificial:
                    return Place(file, header.end - header.size)
        raise SourceError("the server does not say where the stored position is in its log")
    finally:
        asking.close()


def _end(session: Session) -> Place:
    status = master_status(session)
    return Place(str(status["File"]), int(str(status["Position"])))


def _unmoved(session: Session, end: Place) -> Place:
    """The log's end, if it is where it was before. What was written since was not sent, and a
    place behind it is not the one that is looked for."""
    if _end(session) != end:
        raise SourceError("the server's log has grown while it was asked for: it is asked again")
    return end


def _refusal(payload: bytes) -> str:
    text = payload[9:].decode("utf-8", "replace")
    if any(part in text.lower() for part in _PURGED):
        return f"it has purged what comes after that ({text})"
    return (
        "it does not have all that was read: transactions of the former server were not replicated "
        f"before it took over ({text})"
    )


def _differing(found: dict[str, str]) -> str:
    return (
        f"where its log goes on, it has {_listed(found) or 'nothing'}: it has transactions that "
        "the former server did not have, or has those of several domains in another order"
    )


def _other(server: Server, position: Position, why: str) -> str:
    read = _listed(position["gtids"])
    behind = f", behind {read}" if read else ""
    return (
        f"the stored position is of server {position['server']} (server_id and unique id){behind}, "
        f"and this is {server.identity}, whose log is another: {why}. {BEGIN_ANEW}"
    )


def _listed(gtids: dict[str, str]) -> str:
    return ",".join(gtids[domain] for domain in sorted(gtids, key=int))
