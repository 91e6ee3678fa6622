"""The log as the server sends it to a replica: MySQL's replication protocol.

MySQL Source Code Documentation, "Replication Protocol"; MariaDB documentation, "Slave Protocol".
The connection registers as a replica, asks for the log from a place on, and gets each event as a
packet. It never connects again by itself: whoever owns it begins anew, from a stored position.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from struct import pack
from typing import Any

from pymysql.constants import COMMAND

from trunkline.connectors.mysql import events
from trunkline.connectors.mysql.decoder import Decoder
from trunkline.connectors.mysql.names import BEGIN_ANEW
from trunkline.connectors.mysql.places import Place
from trunkline.connectors.mysql.preflight import Server, require_same
from trunkline.connectors.mysql.session import Denied, Session, connect
from trunkline.errors import ConfigurationError, SourceError, TrunklineError

log = logging.getLogger(__name__)

_HEARTBEAT = 1.0
"""Seconds without an event after which the server says that it is there; and sees, a second later,
that a reader who was killed is not."""
SILENCE = 30.0
"""Seconds without anything after which the connection is taken for lost."""
_PARTING = 0.3
"""Seconds to tell the server that its reader goes: a stop waits for it, and the server may hang."""
_OK, _END, _ERROR = 0x00, 0xFE, 0xFF
_GNU_CAPABILITY = 4  # of MariaDB: it may send GTIDs, and whatever it has
_BATCH_BYTES = 8_000_000
NON_BLOCK = 0x01
"""The server ends the stream where the log ends."""

AHEAD = (
    "The stored position lies ahead of the server, which was restored, or has lost the end of its "
    f"log. {BEGIN_ANEW}"
)
_PURGED = ("could not find first log file", "purged", "not in the master's binlog")
_AHEAD = ("file size", "impossible position", "requested starting gtid")
_TWIN = "same server_uuid/server_id"
_TOO_LONG = "max_allowed_packet"


class Stream:
    """An open stream of the log, fed into ``decoder`` from where that stands."""

    def __init__(
        self,
        arguments: Mapping[str, Any],
        server: Server,
        server_id: int,
        decoder: Decoder,
        stop: threading.Event,
    ) -> None:
        self._decoder = decoder
        self._arguments, self._server = arguments, server
        self._arrived: deque[bytes] = deque()
        self._sends = False  # whether the server sends us the log
        self._session = connect(arguments, stop)
        try:
            require_same(self._session, server)
            set_up(self._session, server)
            register(self._session, server_id)
            asked = dump(server_id, decoder.place)
            self._packets = self._session.send(COMMAND.COM_BINLOG_DUMP, asked)
        except BaseException:
            self.close()
            raise
        self._heard, self._sends = time.monotonic(), True
        self.idle = False
        """Whether the server had nothing to send just now: all that is in the log is here."""

    def receive(self, limit: int) -> bool:
        """Decode what has arrived, until there are ``limit`` records, or the decoder has reached
        its end; wait for a moment if there is nothing. True if more waits.

        Raises ConfigurationError if the log from here on is gone or cannot be read, SourceError if
        the connection is lost.
        """
        arrived, decoder = self._arrived, self._decoder
        if not arrived and not decoder.unpacking:
            try:
                arrived.extend(self._packets.receive())
                self._listen(bool(arrived))
                self.idle = not arrived
            except SourceError:
                self._sends = False
                raise
        size = 0
        while len(decoder.records) < limit and size + decoder.size < _BATCH_BYTES:
            if decoder.unpacking:
                size += decoder.feed_packed()
                continue
            if decoder.reached or not arrived:
                break
            payload = arrived[0]
            if payload[0] != _OK:
                self._sends = False
                raise _ended(payload, decoder.place)
            decoder.feed(payload[1:])
            size += len(payload)
            arrived.popleft()
        return decoder.unpacking or bool(arrived)

    def _listen(self, heard: bool) -> None:
        if heard:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > SILENCE:
            raise SourceError(f"the server has been silent for {SILENCE:.0f} s")

    def close(self) -> None:
        """End the connection, also on the server's side: that would notice it at its next two
        heartbeats only, and hold up whoever reads next."""
        thread = self._session.thread
        self._session.close()
        if not self._sends:
            return
        self._sends = False
        enough = threading.Event()
        timer = threading.Timer(_PARTING, enough.set)
        timer.start()
        try:
            other = connect(self._arguments, enough)
            try:
                require_same(other, self._server)  # elsewhere the number is somebody else's
                other.run(f"KILL {thread}")
            finally:
                other.close()
        except TrunklineError as error:
            log.info("the server will notice by itself that its reader has gone: %s", error)
        finally:
            timer.cancel()


def begun_at(
    arguments: Mapping[str, Any], server: Server, server_id: int, file: str, stop: threading.Event
) -> int:
    """When a file of the log was begun, in epoch seconds of the server. Raises SourceError."""
    session = connect(arguments, stop)
    try:
        set_up(session, server)
        register(session, server_id)
        packets = session.send(
            COMMAND.COM_BINLOG_DUMP, dump(server_id, Place(file, 4, 0, 0), NON_BLOCK)
        )
        deadline = time.monotonic() + SILENCE
        while time.monotonic() < deadline and not stop.is_set():
            for payload in packets.receive():
                if payload[0] != _OK:
                    raise SourceError(f"the begin of {file} cannot be read: {payload[9:]!r}")
                header = events.header_of(payload[1:])
                if header.type == events.FORMAT:
                    return header.time
        raise SourceError(f"the begin of {file} does not come")
    finally:
        session.close()


def require_right(arguments: Mapping[str, Any], server_id: int, stop: threading.Event) -> None:
    """Raises ConfigurationError if the user may not read the log: asked before a long snapshot."""
    session = connect(arguments, stop)
    try:
        register(session, server_id)
    finally:
        session.close()


def set_up(session: Session, server: Server) -> None:
    """What a replica says before it asks for the log."""
    nanoseconds = int(_HEARTBEAT * 1e9)
    checksum = server.checksum
    session.run(f"SET @master_heartbeat_period = {nanoseconds}")
    session.run("SET @master_binlog_checksum = %s", checksum)
    if server.maria:
        session.run(f"SET @mariadb_slave_capability = {_GNU_CAPABILITY}")
    else:
        session.run(f"SET @source_heartbeat_period = {nanoseconds}")
        session.run("SET @source_binlog_checksum = %s", checksum)


def register(session: Session, server_id: int) -> None:
    """Say that we are a replica. Raises ConfigurationError if the user may not be one."""
    user = session.user()
    try:
        session.command(COMMAND.COM_REGISTER_SLAVE, _registration(server_id))
    except Denied as error:
        raise ConfigurationError(
            f"{user} may not read the log: run GRANT REPLICATION SLAVE ON *.* TO {user};"
        ) from error


def _registration(server_id: int) -> bytes:
    """No host, user, password and port to be shown; no rank, no primary."""
    return pack("<I", server_id) + b"\0\0\0" + pack("<HII", 0, 0, 0)


def dump(server_id: int, place: Place, flags: int = 0) -> bytes:
    """Asks for the log from a place on; of MariaDB also "", from the GTIDs that were told."""
    return pack("<IHI", place.at, flags, server_id) + place.file.encode()


def _ended(payload: bytes, place: Place) -> Exception:
    """What the server says instead of sending events."""
    if payload[0] == _END:
        return SourceError("the server has ended the stream, as it does when it shuts down")
    code, text = int.from_bytes(payload[1:3], "little"), payload[9:].decode("utf-8", "replace")
    shown, lower = f"MySQL, from {place.file}:{place.at}: {text} (error {code})", text.lower()
    if any(part in lower for part in _PURGED):
        return ConfigurationError(
            f"{shown}. The server has purged what comes after the stored position, and these "
            f"changes are lost to this source: keep the log for longer. {BEGIN_ANEW}"
        )
    if any(part in lower for part in _AHEAD):
        return ConfigurationError(f"{shown}. {AHEAD}")
    if _TOO_LONG in lower:
        return ConfigurationError(
            f"{shown}. Run SET GLOBAL max_allowed_packet = 1073741824; on the server"
        )
    if _TWIN in lower:
        return SourceError(
            f"{shown}. Another replica or source has this server_id: give this one server_id="
        )
    return SourceError(shown)
