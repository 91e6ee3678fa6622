"""The end of a replay: the worker that routes its first partition writes that it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from trunkline.errors import ConfigurationError, DataError
from trunkline.kafka import Out
from trunkline.kafka.offsets import Partition
from trunkline.streams.control import audit
from trunkline.streams.control import topic as control
from trunkline.streams.replay.job import Job, JobContext
from trunkline.streams.replay.request import PartitionProgress, Request, merge_counts


class CompletionJob(Job):
    """Writes that a request is done, and what became of its events, into the control topic and the
    audit: in one transaction, and unless somebody else has done it or it is paused or cancelled.
    """

    def __init__(
        self,
        request: Request,
        places: Sequence[Partition],
        desk: JobContext,
        share: Callable[[], float | None],
    ) -> None:
        super().__init__(request, places[0], desk, share)
        self._places = places

    def _restore(self, state: Mapping[str, control.Value]) -> None:
        # As it is now: it may be paused, or another worker may have written that it is done.
        self._current: Request | None = None
        if (record := state.get(self.request.record_key)) is not None:
            with suppress(DataError, ConfigurationError):  # no request any more, to anybody
                self._current = Request.from_record(self.request.id, record)
        keys = map(self.request.progress_key, self._places)
        self._done = [PartitionProgress.from_record(state.get(key)) for key in keys]

    async def _work(self) -> None:
        running = self._current and self._current.state == "running"
        if running and all(one.done for one in self._done):
            await self._transact(self._records)

    async def _records(self) -> list[Out]:
        assert self._current is not None
        request, counts = self.request, dict[str, int]()
        for progress in self._done:
            counts = merge_counts(counts, progress.counts)
        done = self._current.with_state("done", counts=counts)
        told = audit.AuditRecord(
            what=f"{request.kind} done",
            on=request.destination,
            why=request.why,
            who=request.by,
            count=counts.get("sent", 0) + counts.get("released", 0) + counts.get("discarded", 0),
            id=request.id,
            more={"counts": counts},
        )
        return [
            control.record(self._desk.control, request.record_key, done.to_record()),
            audit.record(self._desk.flow, told),
        ]
