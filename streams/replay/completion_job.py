"""The end of a replay: the worker that routes its first partition writes that it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
        self._value = state.get(self.request.record_key, {})
        keys = map(self.request.progress_key, self._places)
        self._done = [PartitionProgress.of(state.get(key)) for key in keys]

    async def _work(self) -> None:
        if self._value.get("state") == "running" and all(one.done for one in self._done):
            await self._transact(self._records)

    async def _records(self) -> list[Out]:
        request, counts = self.request, dict[str, int]()
        for progress in self._done:
            counts = merge_counts(counts, progress.counts)
        value = {**self._value, "state": "done", "counts": counts}
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
            control.record(self._desk.control, request.record_key, value),
            audit.record(self._desk.flow, told),
        ]
