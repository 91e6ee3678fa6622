"""How rows and index entries are written as bytes, in memory and on disk alike.

A row is where it came from (partition and time of writing), then the record's value as it was.
An index entry is the index's number, the field's value, and the row's key: entries of one value
stand together, in the order of the keys.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

ROW = struct.Struct(">IQ")
"""Partition, and the record's time in milliseconds."""
VALUE = ROW.size
"""Where a row's value begins."""
MAX_INDEXES = 255

_ESCAPED, _END = b"\x00\xff", b"\x00\x01"
_TEXT, _NUMBER, _TRUTH = b"s", b"i", b"b"


class Origin(NamedTuple):
    """Where a record was, and when it was written, in epoch milliseconds."""

    partition: int
    written: int

    def outlasts(self, later: Origin) -> bool:
        """Whether this record stays the newest of its key although ``later`` is read after it.

        Within a partition what is read later is newer. A key is in two partitions when the topic
        was given more of them: then the time of writing decides, as nothing else is known.
        """
        return self.partition != later.partition and self.written > later.written


def row_of(origin: Origin, value: bytes) -> bytes:
    """The row of a record's value."""
    return ROW.pack(*origin) + value


def origin_of(row: bytes) -> Origin:
    """Where the record of a row was."""
    return Origin._make(ROW.unpack_from(row))


def entries_of(number: int, value: object) -> bytes:
    """What the entries of one value of an index begin with. Raises TypeError for a value that no
    index can have."""
    return bytes((number,)) + _encoded(value).replace(b"\x00", _ESCAPED) + _END


def texts_from(number: int, prefix: str) -> bytes:
    """What the entries of all texts with this prefix begin with."""
    return bytes((number,)) + (_TEXT + prefix.encode()).replace(b"\x00", _ESCAPED)


def key_of(entry: bytes, value: bytes) -> bytes:
    """The row's key of an entry that begins with ``value``, the result of ``entries_of``."""
    return entry[len(value) :]


def text_and_key_of(entry: bytes) -> tuple[str, bytes]:
    """The text and the row's key of an entry of a text."""
    # Neither a text's zero (00 ff) nor a key can be mistaken for the end: it is the first 00 01.
    escaped, key = entry[2:].split(_END, 1)
    return escaped.replace(_ESCAPED, b"\x00").decode(), key


def _encoded(value: object) -> bytes:
    if isinstance(value, str):
        return _TEXT + value.encode()
    if isinstance(value, bool):
        return _TRUTH + (b"1" if value else b"0")
    if isinstance(value, int):
        return _NUMBER + str(value).encode()
    raise TypeError(f"an index is asked for a text or a whole number, not for {value!r}")
