"""A source that is read in a thread of its own, and what its records amount to."""

from __future__ import annotations

import threading
import time
from typing import Any

from trunkline.connectors.base import Position, Source
from trunkline.errors import TrunklineError
from trunkline.event import Record

PATIENCE = 30.0


class Reading:
    """A source that reads in a thread of its own, as in the engine, until it is told to stop."""

    def __init__(self, source: Source, position: Position | None = None) -> None:
        self.records: list[Record] = []
        self.position = position
        self.error: TrunklineError | None = None
        self._stop = threading.Event()
        self._source = source
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for batch in self._source.read(self.position, self._stop):
                self.records += batch.records
                self.position = batch.position
                self._source.acknowledge(batch.position)
        except TrunklineError as error:
            self.error = error
        finally:
            self._source.close()

    def ended(self) -> TrunklineError | None:
        """Waits for its end; gives its error. Fails where it does not end by itself, and ends it:
        the thread of a failed test would keep the process."""
        self._thread.join(PATIENCE)
        alive = self._thread.is_alive()
        self._stop.set()
        self._thread.join()
        assert not alive, f"it still reads after {PATIENCE:.0f} s"
        return self.error

    def stopped_after(self) -> float:
        """Tells it to stop; gives the seconds it takes."""
        began = time.monotonic()
        self._stop.set()
        assert self.ended() is None
        return time.monotonic() - began


def folded(records: list[Record]) -> dict[str, Any]:
    """What a consumer has that takes each record as it comes."""
    state: dict[str, Any] = {}
    for record in records:
        if record.change == "truncate":
            state.clear()
        elif record.change == "delete":
            state.pop(record.key, None)
        else:
            state[record.key] = record.data
    return state


def snapshot_keys(records: list[Record]) -> list[str]:
    return [record.key for record in records if record.change == "snapshot"]
