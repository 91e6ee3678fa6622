"""The publishing step: from a source to its canonical topics.

A source with a position runs in one worker at a time: the one that owns the only partition of
its positions topic (``source_group``). Records and position are one transaction under an id of the
source's own, so whoever takes over fences the worker before and goes on exactly where Kafka stands.
"""

from __future__ import annotations

import logging
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Any

from confluent_kafka import KafkaException, Producer

from trunkline.connectors.base import Batch, Position, SnapshotRequest, Source
from trunkline.errors import ConfigurationError, SourceError, TrunklineError
from trunkline.kafka import is_forbidden, transact, unavailable
from trunkline.masking import without_secrets
from trunkline.streams.listener import OutcomeListener
from trunkline.streams.metrics import SourceMetrics
from trunkline.streams.publish.letter_limit import LetterLimit
from trunkline.streams.publish.progress import ProgressLog
from trunkline.streams.publish.publisher import Publisher, PublishingResult
from trunkline.streams.publish.source_group import SourceGroup
from trunkline.streams.publish.source_lag import SourceLag, SourceState, SourceStatus
from trunkline.streams.publish.source_watch import SourceWatch
from trunkline.streams.publish.stored_position import StoredPosition, shown
from trunkline.tasks import backoff, inheriting, naming_flow, working_for

log = logging.getLogger(__name__)


LARGE_BATCH = 500
"""Records from which on a batch commits while the next one is read."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds before a source that failed runs again: at first, and at the most."""

_PAUSE_CHECK = 60.0
"""Seconds after which a paused source looks at the clock: it may have been set."""


@dataclass(slots=True)
class _Pending:
    """A batch in its transaction, and what was made of it. ``started``: a monotonic time."""

    commit: Future[None]
    batch: Batch
    result: PublishingResult
    started: float


class SourceStep:
    """Runs a source while this worker owns its position, which ``group`` says."""

    def __init__(
        self,
        name: str,
        positions: str,
        publisher: Publisher,
        *,
        build: Callable[[], Source],
        group: SourceGroup,
        make_producer: Callable[[], Producer],
        stored: StoredPosition,
        metrics: SourceMetrics,
        outcome_listener: OutcomeListener,
        limit: LetterLimit | None = None,
        linger: float = 0.0,
    ) -> None:
        self.name = name
        self._limit = limit or LetterLimit(None)
        self._publisher = publisher
        self._linger = linger
        self._build = build
        self._make_producer = make_producer
        self._stored = stored
        self._metrics = metrics
        self._outcome_listener = outcome_listener
        self._lag = SourceLag(time.time)
        self._owned = False
        self._ending = threading.Lock()
        """Held where the thread ends, or is needed: a source that comes back may find it alive."""
        self._interrupt = threading.Event()
        """What ends the source's reading: the position is taken away, or a commit failed."""
        self._thread: threading.Thread | None = None
        self._committed_any = False
        self._paused_until = -inf
        self._error = ""
        self._ended = False
        self._stopped: SourceStatus | None = None
        self._source: Source | None = None
        self._position: Position | None = None
        self._watch = SourceWatch(
            name,
            build=build,
            position=lambda: self._position,
            metrics=metrics,
            outcome_listener=outcome_listener,
        )
        self._progress = ProgressLog(name)
        self._requests: tuple[SnapshotRequest, ...] = ()
        self.takes_snapshots: bool | None = None
        """Whether the source reads snapshots on demand; None before it was built."""
        self.snapshots: Mapping[str, Any] = {}
        """How far they are, as the committed position says."""
        self.read_records = 0
        """Records of its system that are done with in Kafka, since this worker began."""
        self.failure: BaseException | None = None
        self.forbidden = ""
        """The right on Kafka without which the source cannot publish, in a sentence."""
        self.intake = group
        group.add(positions, self)

    # Who owns the position, in the group's thread.

    def acquire(self) -> None:
        """Run the source: its position is this worker's now."""
        with self._ending:
            self._owned, self._ended, self._error = True, False, ""
            self._interrupt.clear()
            with working_for("source", self.name):
                self._watch.start()
                # One that did not end when the position was taken away goes on where it is: if
                # anybody ran the source meanwhile, its next transaction is fenced, and it begins
                # again from the stored position.
                if self._thread is None:
                    name = f"source-{self.name}"
                    run = inheriting(self._run_while_owned)
                    self._thread = threading.Thread(target=run, name=name, daemon=True)
                    self._thread.start()

    def release(self) -> None:
        """Begin to stop: the position goes to another worker."""
        self._owned = False
        self._interrupt.set()

    def wait_released(self, timeout: float) -> bool:
        """Wait until what was published is committed; False if that took longer."""
        self._watch.stop()
        if (thread := self._thread) is not None:
            thread.join(timeout)
        return self._thread is None

    # What people see of it, in the event loop.

    def refresh(self) -> None:
        """Tell how late the source is: also while it fails, or waits, and gives no batch."""
        seconds = self._lag.seconds()
        # What waits because somebody wanted it so is late, but nobody's alarm.
        self._outcome_listener.on_lag(0.0 if self._paused else seconds)
        self._metrics.lag_seconds.set(seconds)

    @property
    def held(self) -> bool:
        """Whether the source gets nowhere."""
        return self._lag.held

    @property
    def status(self) -> SourceStatus | None:
        """How the source is; None if another worker has its position."""
        if self._stopped is not None:  # it is late from then on, also when the worker has ended
            return self._stopped
        if not self._owned:
            return None
        state: SourceState = "paused" if self._paused else self._lag.state
        if self._ended:
            state = "ended"
        elif self._limit.reason and not self._paused:
            state = "dead-letter-limit"
        return SourceStatus(state, self._error, self._lag.since, self._watch.gauges)

    # What an operator commands, in the event loop.

    def pause(self, until: float) -> None:
        """Read nothing before the epoch second ``until``; one that is over ends a pause."""
        before, self._paused_until = self._paused, until
        if self._paused != before:
            self._interrupt.set()

    def allow(self) -> None:
        """Go on, if the dead-letter limit has stopped the source: a person has looked."""
        if self._limit.reason:
            self._limit.reset()
            self._interrupt.set()

    def request_snapshots(self, requests: Sequence[SnapshotRequest]) -> None:
        """These snapshots are asked for now."""
        self._requests = tuple(requests)
        if (source := self._source) is not None:
            source.snapshots(self._requests)

    def restart(self) -> None:
        """Begin again from the stored position, which somebody has changed."""
        self._interrupt.set()

    @property
    def _paused(self) -> bool:
        return time.time() < self._paused_until

    @property
    def _waits(self) -> bool:
        return self._paused or bool(self._limit.reason)

    # The source's own thread.

    def _run_while_owned(self) -> None:
        while self._still_needed():
            self._run()

    def _still_needed(self) -> bool:
        with self._ending:
            if self._owned and self.failure is None:
                return True
            self._thread = self._position = None
            self._lag.ended()
            return False

    def _run(self) -> None:
        """Run the source while the position is ours, and nobody has paused it; after a failure, or
        when it was interrupted, again from the stored position."""
        waits = backoff(FIRST_PAUSE, LONGEST_PAUSE)
        delay = 0.0
        while self._owned:
            # First clear, then look: a revocation says that the position is gone before it
            # interrupts, and so does a pause, so that one of the two is seen whenever it comes.
            self._interrupt.clear()
            if not self._owned:  # else it would run, and nobody interrupt it any more
                return
            if delay or self._waits:
                self._interrupt.wait(delay or self._pause_left())
                delay = 0.0
                continue
            self._committed_any = False
            self._lag.begun()
            try:
                self._run_once()
                if not self._interrupt.is_set():
                    self._rest()
                elif self._paused:
                    self._lag.paused()
            except ConfigurationError as error:
                log.error("source %s cannot run: %s", self.name, error)
                self._lag.failed()
                told = self._watch.gauges
                self._stopped = SourceStatus(
                    "stopped", without_secrets(str(error)), self._lag.since, told
                )
                self.failure = error
                return
            except Exception as error:  # noqa: BLE001 - of a connector, of any kind
                if self._committed_any:  # it ran: this is another trouble than the last one
                    waits = backoff(FIRST_PAUSE, LONGEST_PAUSE)
                delay = 0.0 if self._limit.reason else next(waits)
                self._failed(error, delay)

    def _failed(self, error: Exception, delay: float) -> None:
        self._error = without_secrets(f"{type(error).__name__}: {error}")
        self._lag.failed()
        self._note_forbidden(error)
        self._outcome_listener.on_held(error)
        # What a system refuses needs no traceback, least of all at each attempt.
        shown = None if isinstance(error, TrunklineError | KafkaException) else error
        again = "waits for a person" if self._limit.reason else f"starts again in {delay:.1f} s"
        log.error("source %s %s: %s", self.name, again, error, exc_info=shown)

    def _rest(self) -> None:
        """The source has nothing more to give, unless somebody resets it."""
        self._ended = True
        self._lag.ended()
        self._interrupt.wait()
        self._ended = False

    def _pause_left(self) -> float:
        if self._limit.reason and not self._paused:
            return _PAUSE_CHECK
        self._lag.paused()  # also where it failed before
        return max(0.0, min(self._paused_until - time.time(), _PAUSE_CHECK))

    def _note_forbidden(self, error: Exception) -> None:
        # Nobody else can find it out: to ask for a right on the source's own transactional id
        # would fence whoever runs it.
        if isinstance(error, KafkaException) and is_forbidden(error):
            self.forbidden = str(unavailable(f"source {self.name} cannot publish", error))

    def _run_once(self) -> None:
        producer = self._make_producer()
        producer.init_transactions(60)  # fences whoever ran this source before
        self.forbidden = ""
        position = self._position = self._stored.load()
        log.info("source %s runs from %s", self.name, shown(position))
        self._progress.on_position(position)
        if self._interrupt.is_set():  # revoked while Kafka was asked: connect to nothing any more
            return
        source = self._build()
        if self._stored.reset_at is not None:
            position = source.anew(self._stored.reset_at)
        self._take_over(source, position)
        try:
            self._publish_batches(source, position, producer)
        except CancelledError as cancelled:  # of an event loop of its own: it would end the thread
            raise RuntimeError("what the source awaited was cancelled") from cancelled
        finally:
            self._source = None
            source.close()

    def _take_over(self, source: Source, position: Position | None) -> None:
        self.takes_snapshots = source.takes_snapshots
        self.snapshots = _snapshots_of(position)
        # First so that a change finds it, then told: one that comes between is told twice.
        self._source = source
        source.snapshots(self._requests)

    def _publish_batches(
        self, source: Source, position: Position | None, producer: Producer
    ) -> None:
        """Read, publish, commit, acknowledge, batch by batch.

        1. Make the batch's records. Meanwhile the batch before may still be committing. Too many
           dead letters end it here, before anything of the batch is written.
        2. Settle that one: acknowledge it at the source, which may forget it then.
        3. Commit records and position in one transaction, in a thread.
        4. Wait for it, unless the batch is large. Behind a small one nothing may come for hours,
           and the source would not hear that it is safe. Behind a large one more waits, as in a
           snapshot, and reading beside the commit saves the commit's time.
        5. At the system's end, ask for the next one ``linger`` after this one came: what happens
           meanwhile is one batch, and one transaction.
        """
        pending: _Pending | None = None
        with ThreadPoolExecutor(
            1, thread_name_prefix=f"publish-{self.name}", initializer=naming_flow()
        ) as thread:
            for batch in source.read(position, self._interrupt):
                self._lag.read(batch)
                started, result = time.monotonic(), self._publisher.publish(batch.records)
                if why := self._limit.trips(result):
                    raise SourceError(why)
                if pending is not None:
                    self._settle(source, pending)
                stored = self._stored.records(batch.position, result.left_out)
                records = [*result.records, *stored]
                commit = thread.submit(transact, producer, records)
                commit.add_done_callback(self._interrupt_if_failed)
                pending = _Pending(commit, batch, result, started)
                if len(batch.records) < LARGE_BATCH:
                    self._settle(source, pending)
                    pending = None
                    if batch.records and batch.current:
                        self._interrupt.wait(max(0.0, started + self._linger - time.monotonic()))
            if pending is not None:
                self._settle(source, pending)

    def _interrupt_if_failed(self, commit: Future[None]) -> None:
        """Reading ends when a commit has failed, also where nothing more comes to read."""
        if commit.exception() is not None:
            self._interrupt.set()

    def _settle(self, source: Source, pending: _Pending) -> None:
        try:
            pending.commit.result()
        except KafkaException:
            self._metrics.transaction_failures.inc()
            raise
        self._lag.settled(pending.batch)
        self._position = pending.batch.position
        self._progress.on_position(self._position)
        self.snapshots = _snapshots_of(self._position)
        source.acknowledge(pending.batch.position)
        self._count(pending)
        self._committed_any, self._error, self.forbidden = True, "", ""

    def _count(self, pending: _Pending) -> None:
        batch, result = pending.batch, pending.result
        self.read_records += len(batch.records)
        self._metrics.events_in.inc(len(batch.records))
        result.tell(self._outcome_listener)
        self._metrics.batch_seconds.observe(time.monotonic() - pending.started)

    async def start(self) -> None:
        """Take part in the election of the position's owner."""
        self.intake.start()

    async def stop(self) -> None:
        """Stop the source, and all others of its group, and leave."""
        await self.intake.stop()


def _snapshots_of(position: Position | None) -> Mapping[str, Any]:
    return position.get("snapshots", {}) if isinstance(position, dict) else {}
