"""The requests of a flow as one worker knows them, and which jobs follow from them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.replay.request import PartitionProgress, Request


class ReplayRegistry:
    """Which requests run, how far each partition is, and what of that this worker has to do.

    A job is named by the control record that it writes: ``ReplayKey(id, partition)`` is the
    progress of one partition, ``ReplayKey(id)`` the request, which is written when it is done.
    ``topics``: those that the flow routes. ``owned``: the canonical partitions of this worker.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self.owned: frozenset[Partition] = frozenset()
        self._topics = sorted(topics)
        self._requests: dict[str, Request] = {}
        self._progress: dict[ReplayKey, PartitionProgress] = {}
        self._partitions: dict[str, list[Partition]] = {}

    def on_record(self, key: ReplayKey, record: Mapping[str, Any] | None) -> None:
        """Take in a record of the control topic; None: it is removed.

        Raises DataError and ConfigurationError for what is no request.
        """
        if key.partition is not None:
            self.on_progress(key, None if record is None else PartitionProgress.from_record(record))
        elif record is not None:
            self._requests[key.id] = Request.from_record(key.id, record)
        else:
            self._requests.pop(key.id, None)
            self._partitions.pop(key.id, None)

    def on_progress(self, key: ReplayKey, progress: PartitionProgress | None) -> None:
        """Note how far a partition is; None: its record is removed. What is done stays done."""
        known = self._progress.get(key)
        if progress is None:
            self._progress.pop(key, None)
        # A job of this worker says here at once that it is done. After that its earlier records
        # come back from the control topic: if they counted, the partition would be begun anew.
        elif known is None or not known.done:
            self._progress[key] = progress

    @property
    def needs_partition_counts(self) -> bool:
        """Whether a request runs that nobody knows the partitions of: see ``plan``."""
        return any(not self._is_planned(request) for request in self._running())

    def plan(self, counts: Mapping[str, int]) -> None:
        """Fix the partitions of requests that are about dead letters.

        These are all partitions that the flow routes. ``counts``: how many each topic has.
        """
        # A letter of any of them may be in the queue. A partition that is added to a topic later
        # has none yet: the ranges were fixed before. A replay says itself what it is about.
        everywhere = [(topic, n) for topic in self._topics for n in range(counts.get(topic, 0))]
        for request in self._running():
            if not self._is_planned(request):
                self._partitions[request.id] = everywhere

    def request(self, id: str) -> Request | None:
        """The request of this id as it is now; None if there is none."""
        return self._requests.get(id)

    def partitions(self, request: Request) -> Sequence[Partition]:
        """The canonical partitions that have a part in a request, in order; none if they are not
        known yet."""
        if request.kind == "replay":
            return sorted(request.ranges)
        return self._partitions.get(request.id, [])

    def wanted(self) -> dict[ReplayKey, Request]:
        """The jobs that this worker should have now.

        One for each of its partitions that is not done; once all partitions are, the worker that
        owns the first one also writes that the request is.
        """
        wanted: dict[ReplayKey, Request] = {}
        for request in self._running():
            partitions = self.partitions(request)
            left = self._left(request)
            wanted |= {ReplayKey(request.id, p): request for p in left if p in self.owned}
            # Somebody has to complete it, and a partition has one owner: so nobody else does.
            if partitions and not left and partitions[0] in self.owned:
                wanted[ReplayKey(request.id)] = request
        return wanted

    def rate_share(self, request: Request) -> float | None:
        """Events a second that one partition may send, so that all together keep to the request's
        rate; None for no limit."""
        # Whatever of 20 partitions is done leaves its part to the others, so a replay does not end
        # with one large partition at a twentieth of the rate.
        return None if request.rate is None else request.rate / max(1, len(self._left(request)))

    def _running(self) -> list[Request]:
        return [request for request in self._requests.values() if request.state == "running"]

    def _is_planned(self, request: Request) -> bool:
        return request.kind == "replay" or request.id in self._partitions

    def _left(self, request: Request) -> list[Partition]:
        return [p for p in self.partitions(request) if not self._is_done(ReplayKey(request.id, p))]

    def _is_done(self, key: ReplayKey) -> bool:
        progress = self._progress.get(key)
        return progress is not None and progress.done
