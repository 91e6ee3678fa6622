"""Transactions that MySQL has compressed: TRANSACTION_PAYLOAD, an event that holds others.

MySQL Source Code Documentation, "Transaction_payload": fields of type, length and value, then the
events' bytes. They have no checksums of their own, and no places in the log.
"""

from __future__ import annotations

import struct
from collections import deque

import cramjam

from trunkline.connectors.mysql.events import HEADER_SIZE, PAYLOAD, ROTATE, header_of
from trunkline.connectors.mysql.packets import length_at
from trunkline.errors import SourceError

_END, _SIZE, _ALGORITHM, _UNPACKED_SIZE = 0, 1, 2, 3
_ZSTD, _PLAIN = 0, 255
_LONGEST = 1 << 30
"""Bytes of a transaction that MySQL compresses: the largest ``max_allowed_packet``. A longer one is
in the log as it is."""


def events_of(body: bytes) -> deque[bytes]:
    """The events of a compressed transaction, in their order. Raises SourceError for what cannot be
    unpacked, and ValueError or LookupError for what has another form."""
    at, fields = 0, {_ALGORITHM: _ZSTD}
    while True:
        kind, at = length_at(body, at)
        if kind == _END:
            break
        size, at = length_at(body, at)
        fields[kind], _ = length_at(body, at)
        at += size
    packed = body[at:]
    if len(packed) != fields[_SIZE]:
        raise ValueError("a compressed transaction is longer or shorter than it says")
    return _split(_unpacked(packed, fields[_ALGORITHM], fields.get(_UNPACKED_SIZE, len(packed))))


def _unpacked(packed: bytes, algorithm: int, size: int) -> bytes | bytearray:
    if algorithm == _PLAIN:
        return packed
    if algorithm != _ZSTD or size > _LONGEST:
        raise SourceError(
            f"a transaction of the log is compressed in a way ({algorithm}) of no name, or is too "
            f"long ({size} bytes)"
        )
    room = bytearray(size)
    try:
        found = cramjam.zstd.decompress_into(packed, room)
    except cramjam.DecompressionError as error:
        raise SourceError(f"a transaction of the log cannot be decompressed: {error}") from error
    if found != size:
        raise SourceError("a transaction of the log is shorter than it says")
    return room


def _split(all_: bytes | bytearray) -> deque[bytes]:
    found, at = deque[bytes](), 0
    while at < len(all_):
        try:
            header = header_of(bytes(all_[at : at + HEADER_SIZE]))
        except struct.error as error:
            raise ValueError("a compressed transaction ends within an event") from error
        end = at + header.size
        if header.size < HEADER_SIZE or end > len(all_) or header.type in (PAYLOAD, ROTATE):
            raise ValueError("a compressed transaction holds what is no event of one")
        found.append(bytes(all_[at:end]))
        at = end
    return found
