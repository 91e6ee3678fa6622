"""The end of a request: whoever routes its first partition writes that it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from trunkline.errors import ConfigurationError, DataError
from trunkline.kafka import ProducerRecord
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.audit import AuditRecord, audit_record
from trunkline.streams.control.topic import Value, control_record
from trunkline.streams.replay.job import Chunk, Job, JobContext, MakeChunk
from trunkline.streams.replay.request import PartitionProgress, Request, merge_counts


class CompletionJob(Job):
    """Writes that a request is done, and what became of its events: into the control topic and the
    audit, in one transaction.

    ``partitions``: all that have a part in it; the job belongs to the first one's router. It
    writes nothing if the request is over already, paused or cancelled, or a partition is not done.
    """

    def __init__(
        self, request: Request, partitions: Sequence[Partition], context: JobContext
    ) -> None:
        super().__init__(request, partitions[0], context)
        self._partitions = partitions
        self._current: Request | None = None
        self._progress: list[PartitionProgress] = []

    def _restore(self, state: Mapping[str, Value]) -> None:
        keys = map(self.request.progress_key, self._partitions)
        self._progress = [PartitionProgress.from_record(state.get(key)) for key in keys]
        # The request as it is now: since this job was made, somebody may have paused it, or the
        # worker that had the partition before may have written that it is done.
        if (record := state.get(self.request.record_key)) is not None:
            with suppress(DataError, ConfigurationError):  # overwritten by what is no request
                self._current = Request.from_record(self.request.id, record)

    async def _work(self) -> None:
        current = self._current
        if current is None or current.state != "running":
            return
        if all(progress.done for progress in self._progress):
            await self._transact(lambda: self._prepared(current))

    async def _prepared(self, request: Request) -> MakeChunk:
        chunk = Chunk(self._records(request), {})
        return lambda: chunk

    def _records(self, request: Request) -> list[ProducerRecord]:
        counts: dict[str, int] = {}
        for progress in self._progress:
            counts = merge_counts(counts, progress.counts)
        done = request.with_state("done", counts=counts)
        audited = AuditRecord(
            what=f"{request.kind} done",
            on=request.destination,
            why=request.why,
            who=request.by,
            count=counts.get("sent", 0) + counts.get("released", 0) + counts.get("discarded", 0),
            id=request.id,
            more={"counts": counts},
        )
        return [
            control_record(self._context.control_topic, done.record_key, done.to_record()),
            audit_record(self._context.flow, audited),
        ]
