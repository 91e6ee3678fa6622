"""What Debezium sends in place of a large value that it has not got, in the form of each type.

Debezium's PostgreSQL connector, ``UnchangedToastedPlaceholder``: a text stands for itself, and for
texts in a list; numbers for its bytes; a map has it as key and value; and so on.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

_GEOMETRIES = [
    bytes.fromhex("0101000020E6100000000000FC83D797C1000000FC83D797C1"),  # -99999999 -99999999
    bytes.fromhex("0101000020E61000000C21E7FDFF7F66401842CEFBFF7F5640"),  # 179.999999 89.999999
]
_POINT = -99_999_999


class Placeholder:
    """All forms of one placeholder."""

    def __init__(self, text: str) -> None:
        raw = text.encode()
        digest = hashlib.md5(raw, usedforsecurity=False).digest()  # UUID.nameUUIDFromBytes
        self._single = (text, raw, base64.b64encode(raw).decode())
        self._table = {text: text}
        self._lists = [
            *([one] for one in self._single),
            [byte - 256 if byte > 127 else byte for byte in raw],  # Java's bytes have a sign
            [str(uuid.UUID(bytes=digest, version=3))],
        ]
        self._wkb = [*_GEOMETRIES, *(base64.b64encode(one).decode() for one in _GEOMETRIES)]

    def stands_for(self, value: Any) -> bool:
        """Whether it stands in place of this value, which is as it came."""
        if isinstance(value, str | bytes):
            return value in self._single
        if isinstance(value, list):
            return value in self._lists
        if isinstance(value, Mapping):
            at = value.get("x"), value.get("y")
            return value == self._table or value.get("wkb") in self._wkb or at == (_POINT, _POINT)
        return False

    def take(self, row: Any) -> list[str]:
        """The columns of a row in which it stands; they are null from then on, so that nobody takes
        it for a value of their type."""
        if not isinstance(row, dict):
            return []
        found = [name for name, value in row.items() if self.stands_for(value)]
        for name in found:
            row[name] = None
        return found
