"""The packets of the MySQL protocol, read from the socket of a connection that has logged in.

MySQL Source Code Documentation, "MySQL Packets": three bytes of length, one of sequence number,
then the payload; a payload of 16 MB or more goes on in the next packet. The driver reads a packet
a call, and cannot be interrupted; here many come with one read of the socket, and a reader who is
to stop does so between two of them.
"""

from __future__ import annotations

import socket
from struct import Struct

from trunkline.errors import SourceError

_CHUNK = 256 * 1024
_FULL = 0xFFFFFF
_LENGTH_2 = Struct("<H").unpack_from
_LENGTH_8 = Struct("<Q").unpack_from


class Packets:
    """Payloads as they arrive on ``sock``. ``wait``: seconds that one ``receive`` waits at most."""

    def __init__(self, sock: socket.socket, wait: float) -> None:
        self._sock = sock
        self._rest = b""  # the begin of a packet, whose rest has not arrived
        self._waiting: list[bytes] = []  # it, and what has arrived of it since
        self._awaited = 0
        self._parts: list[bytes] = []  # of a payload that is longer than a packet
        sock.settimeout(wait)

    def receive(self) -> list[bytes]:
        """The payloads that have arrived; none if nothing did within ``wait``.

        Raises SourceError when the server has closed the connection.
        """
        try:
            chunk = self._sock.recv(_CHUNK)
        except TimeoutError:
            return []
        except OSError as error:
            raise SourceError(f"the connection to the server is lost: {error}") from error
        if not chunk:
            raise SourceError("the server has closed the connection")
        return self._split(chunk)

    def _split(self, chunk: bytes) -> list[bytes]:
        if self._rest and self._awaited > len(chunk):
            # A long payload: joining each chunk to all before would take the square of its length.
            self._waiting.append(chunk)
            self._awaited -= len(chunk)
            return []
        if self._rest:
            chunk = b"".join([*self._waiting, chunk])
            self._rest, self._waiting = b"", []
        payloads: list[bytes] = []
        at, end = 0, len(chunk)
        while end - at >= 4:
            length = int.from_bytes(chunk[at : at + 3], "little")
            begin = at + 4
            if begin + length > end:
                break
            payload = chunk[begin : begin + length]
            at = begin + length
            if length == _FULL:
                self._parts.append(payload)
            elif self._parts:
                payloads.append(b"".join([*self._parts, payload]))
                self._parts = []
            else:
                payloads.append(payload)
        self._keep(chunk[at:])
        return payloads

    def _keep(self, rest: bytes) -> None:
        self._rest, self._waiting = rest, [rest]
        wanted = 4 if len(rest) < 4 else 4 + int.from_bytes(rest[:3], "little")
        self._awaited = wanted - len(rest)


def length_at(data: bytes, at: int) -> tuple[int, int]:
    """The length-encoded integer at ``at``, and where it ends."""
    first = data[at]
    if first < 0xFB:
        return first, at + 1
    if first == 0xFC:
        return _LENGTH_2(data, at + 1)[0], at + 3
    if first == 0xFD:
        return int.from_bytes(data[at + 1 : at + 4], "little"), at + 4
    if first == 0xFE:
        return _LENGTH_8(data, at + 1)[0], at + 9
    raise SourceError(f"the server sent {first:#x} where a length must be")


def text_at(data: bytes, at: int) -> tuple[bytes, int]:
    """The length-encoded string at ``at``, and where it ends."""
    length, at = length_at(data, at)
    return data[at : at + length], at + length
