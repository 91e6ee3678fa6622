"""The rows that a comparison knows: a key and a hash each, in parts of a source's position."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.errors import ConfigurationError, SourceError

ROWS_A_PART = 128
"""Only the parts whose rows have changed are written."""
LONGEST_KEY = 2_000
"""Characters of a key, so that a part stays far below the 800 kB of a stored record."""

Part = dict[str, str]


class KnownRows:
    """Key and hash of at most ``limit`` rows, and which of them a scan has seen. For one thread.

    ``parts``: all of it, as JSON for ``Position``; another dict after each change. A row takes
    about 200 bytes of memory and its key.
    """

    def __init__(self, parts: Mapping[str, Any], limit: int) -> None:
        self.parts: dict[str, Any] = dict(parts)
        self._limit = limit
        self._places: dict[str, int] = {}
        self._keys: list[str | None] = []
        self._hashes = array("Q")
        self._seen = bytearray()
        self._free: list[int] = []
        self._changed: set[int] = set()
        self._load()

    def __len__(self) -> int:
        return len(self._places)

    def begin(self) -> None:
        """A scan begins: no row is seen yet."""
        self._seen = bytearray(len(self._keys))

    def see(self, key: str, hash_: int) -> str:
        """What a row is to those that are known: "same", "new", "changed", or "twice" if this scan
        has seen its key before. It is known from now on. Raises SourceError for too many rows."""
        place = self._places.get(key)
        if place is None:
            self._add(key, hash_)
            return "new"
        if self._seen[place]:
            return "twice"
        self._seen[place] = 1
        if self._hashes[place] == hash_:
            return "same"
        self._hashes[place] = hash_
        self._changed.add(place // ROWS_A_PART)
        return "changed"

    def unseen(self) -> list[str]:
        """The keys that the scan has not seen."""
        return [key for key, place in self._places.items() if not self._seen[place]]

    def forget(self, key: str) -> None:
        """The row is no more."""
        place = self._places.pop(key)
        self._keys[place] = None
        self._free.append(place)
        self._changed.add(place // ROWS_A_PART)

    def save(self) -> dict[str, Any]:
        """``parts`` with all changes."""
        if self._changed:
            parts = dict(self.parts)
            for number in self._changed:
                part = dict(self._of_part(number))
                if part:
                    parts[f"{number:x}"] = part
                else:
                    parts.pop(f"{number:x}", None)
            self.parts = parts
            self._changed.clear()
        return self.parts

    def _add(self, key: str, hash_: int) -> None:
        if len(self._places) >= self._limit:
            raise SourceError(
                f"there are more rows than remember={self._limit}: raise it (a row takes about "
                "200 bytes of memory and its key), or read by what grows instead"
            )
        if not self._free:
            self._grow(1)
        place = self._free.pop()
        self._places[key] = place
        self._keys[place] = key
        self._hashes[place] = hash_
        self._seen[place] = 1
        self._changed.add(place // ROWS_A_PART)

    def _grow(self, parts: int) -> None:
        """Places for so many parts more; the first ones are taken first."""
        count = parts * ROWS_A_PART
        begin = len(self._keys)
        self._keys.extend([None] * count)
        self._hashes.extend([0] * count)
        self._seen.extend(bytes(count))
        self._free.extend(reversed(range(begin, begin + count)))

    def _of_part(self, number: int) -> Iterator[tuple[str, str]]:
        for place in range(number * ROWS_A_PART, (number + 1) * ROWS_A_PART):
            key = self._keys[place]
            if key is not None:
                packed = self._hashes[place].to_bytes(8, "big")
                yield key, base64.b64encode(packed).decode().rstrip("=")

    def _load(self) -> None:
        try:
            numbers = {int(name, 16): part for name, part in self.parts.items()}
            self._grow(max(numbers, default=-1) + 1)
            self._free.clear()
            for number in range(len(self._keys) // ROWS_A_PART):
                self._load_part(number, numbers.get(number, {}))
        except (ValueError, AttributeError, TypeError, IndexError) as error:
            raise ConfigurationError(f"the stored rows cannot be read: {error}") from error
        self._free.reverse()

    def _load_part(self, number: int, part: Part) -> None:
        place = number * ROWS_A_PART
        if len(part) > ROWS_A_PART:
            raise ValueError(f"a part of {len(part)} rows")
        for key, packed in part.items():
            self._places[key] = place
            self._keys[place] = key
            self._hashes[place] = int.from_bytes(base64.b64decode(packed + "="), "big")
            place += 1
        self._free.extend(range(place, (number + 1) * ROWS_A_PART))
