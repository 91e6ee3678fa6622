"""Calls that gateways have accepted and no worker has spoken of, by when their time is over."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from trunkline.streams.journal.record import CallRecord

MOST = 50_000
"""Calls that are kept, of one destination in one worker: some 50 MB. Of others the time is looked
at when their turn comes, as of every event in the inbox."""


class Unanswered:
    """For one thread. Each call with the partition that it belongs to."""

    def __init__(self, calls: Iterable[tuple[CallRecord, int]] = ()) -> None:
        self._calls: dict[str, tuple[CallRecord, int]] = {}
        self._times: list[tuple[float, str]] = []
        for record, partition in calls:
            self.add(record, partition)

    def add(self, record: CallRecord, partition: int) -> None:
        """One more, or what is newly said of one."""
        if len(self._calls) >= MOST and record.call not in self._calls:
            return
        if record.call not in self._calls:
            heapq.heappush(self._times, (record.expires_at, record.call))
        self._calls[record.call] = record, partition
        if len(self._times) > 2 * len(self._calls) + 1_000:  # of calls that were answered long ago
            self._times = [(one.expires_at, id_) for id_, (one, _) in self._calls.items()]
            heapq.heapify(self._times)

    def discard(self, call: str) -> None:
        """A worker has spoken of it."""
        self._calls.pop(call, None)

    def expired(self, now: float) -> Iterator[tuple[CallRecord, int]]:
        """Take out those whose time is over."""
        while self._times and self._times[0][0] <= now:
            _, call = heapq.heappop(self._times)
            if (found := self._calls.pop(call, None)) is not None:
                yield found
