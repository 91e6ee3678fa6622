"""All that a system has, compared with what it had at the last look: for sources that see no
changes, only states."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.connectors.known import KnownRows
from trunkline.errors import SourceError
from trunkline.event import Change, Record

LEAST_ROWS = 100
"""Where there are fewer, any number may go at once."""


class Comparison:
    """What each row is to those of the look before, as records. For one thread.

    ``name``: whose rows; it is a part of the records' ids. ``remember``: rows at the most;
    ``max_deleted``: the share of them that may go at once. ``stored``: what ``position`` gave.

    A look is ``begin``, then ``row`` for each, then ``gone`` and ``end``. The first one gives
    snapshots, and one that was interrupted goes on: what is known is not told again. An id names
    the how-manieth change it is: a row that goes back to what it was is another change, and one
    that is found again after a crash is the same.
    """

    def __init__(
        self,
        name: str,
        stream: str,
        *,
        remember: int,
        max_deleted: float,
        stored: Mapping[str, Any] | None = None,
    ) -> None:
        self._name = name
        self._stream = stream
        self._max_deleted = max_deleted
        self._phase: str = "snapshot" if stored is None else stored["phase"]
        self._number: int = 0 if stored is None else stored["n"]
        self._known = KnownRows({} if stored is None else stored.get("parts", {}), remember)
        self._before: int | None = None if stored is None else stored.get("before")

    def position(self) -> dict[str, Any]:
        """The part of a source's position that is the comparison's."""
        under_way = {} if self._before is None else {"before": self._before}
        return {
            **under_way,
            "phase": self._phase,
            "n": self._number,
            "progress": {"of": self._name, "rows": len(self._known), "about": None},
            "parts": self._known.save(),
        }

    def begin(self) -> None:
        """A look begins, or one that was interrupted begins again: then the rows that it had told
        as new were not there before, and must not make those that have gone seem few."""
        if self._before is None:
            self._before = len(self._known)
        self._known.begin()

    def row(self, key: str, data: dict[str, Any], shown: bytes) -> tuple[str, Record | None]:
        """What a row is ("same", "new", "changed", "twice" if this look has had its key), and the
        record of it, if it is to be told. ``shown``: all of it, as bytes that are compared."""
        digest = hashlib.blake2b(shown, digest_size=8).digest()
        found = self._known.see(key, int.from_bytes(digest, "big"))
        if found in ("same", "twice"):
            return found, None
        change: Change = "update" if found == "changed" else "create"
        if self._phase == "snapshot":
            change = "snapshot"
        return found, self._record(key, change, data, digest)

    def unseen(self) -> list[str]:
        """The keys of rows that this look has not had. Raises SourceError for too many."""
        gone = self._known.unseen()
        before = self._before or 0
        many = before >= LEAST_ROWS and len(gone) > before * self._max_deleted
        if many and self._phase == "compare":
            raise SourceError(
                f"{len(gone)} of {before} rows of {self._name} have gone since the last "
                f"look, more than max_deleted={self._max_deleted}: is it just being loaded anew? "
                "The next look tells; if they are meant to be deleted, raise max_deleted="
            )
        return gone

    def gone(self, keys: list[str], names: list[str], values: Any) -> Iterator[Record]:
        """The deletes of these keys. ``values``: of a key, what its columns ``names`` had."""
        for key in keys:
            self._known.forget(key)
            data = dict(zip(names, values(key), strict=False))
            yield self._record(key, "delete", data, b"")

    def end(self) -> bool:
        """The look is over; whether it was the first one."""
        ended, self._phase, self._before = self._phase == "snapshot", "compare", None
        return ended

    def _record(self, key: str, change: Change, data: dict[str, Any], digest: bytes) -> Record:
        self._number += 1
        told = f"{self._name}/{self._number}/{change}/{digest.hex()}/{key}"
        return Record(
            key=key,
            data=data,
            change=change,
            stream=self._stream,
            id=hashlib.sha256(told.encode(errors="replace")).hexdigest()[:32],
            place=f"{self._stream} {key}"[:200],
        )
