"""The tables of a worker: one reader a topic, begun together, and when all have caught up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

from trunkline.params import Backbone
from trunkline.streams.metrics import HasGauges, Metrics, TableMetrics
from trunkline.streams.tables.reader import TableReader
from trunkline.streams.tables.store import StoreOpener
from trunkline.streams.tables.table_set import TableSet, TopicTables
from trunkline.tasks import inheriting


@dataclass(frozen=True, slots=True)
class _Reading:
    """A topic that is read: its reader and thread, and the metrics of its tables."""

    names: list[str]
    reader: TableReader
    thread: threading.Thread
    metrics: list[TableMetrics]


class TablesStep(HasGauges):
    """Keeps the tables of a worker up to date. For the event loop.

    ``opener``: opens the store of a topic's tables. Routes may look up as soon as ``caught_up``
    has returned.
    """

    def __init__(
        self,
        tables: TableSet,
        backbone: Backbone,
        metrics: Metrics,
        *,
        opener: Callable[[TopicTables], StoreOpener],
        learn: Callable[[set[bytes]], set[bytes]],
    ) -> None:
        self._backbone = backbone
        self._learn = learn
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readings = [
            self._reading(topic, opener(topic), metrics, tables.flow) for topic in tables.topics
        ]

    async def start(self) -> None:
        """Begin to read, and return when everything is read that is in the topics now. Waits for
        Kafka as long as it takes; raises what a table could not be read for."""
        self._loop = asyncio.get_running_loop()
        for reading in self._readings:
            reading.thread.start()
        await self.caught_up()

    async def caught_up(self) -> None:
        """Return when all tables have caught up. Raises what a table could not be read for."""
        while self.behind:
            if self.failure is not None:
                raise self.failure
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """End reading, and release the stores: no route runs any more."""
        for reading in self._readings:
            reading.reader.stop()
        for reading in self._readings:
            if reading.thread.ident is not None:  # it may be stopped before it was started
                await asyncio.to_thread(reading.thread.join)
            reading.reader.close()

    @property
    def behind(self) -> list[str]:
        """The tables that have not caught up yet."""
        late = [reading for reading in self._readings if not reading.reader.caught_up]
        return [name for reading in late for name in reading.names]

    @property
    def failure(self) -> BaseException | None:
        """What a table could not be kept for: the worker must end."""
        failures = (reading.reader.failure for reading in self._readings)
        return next((failure for failure in failures if failure is not None), None)

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        for reading in self._readings:
            for metrics in reading.metrics:
                metrics.rows.set(reading.reader.rows)
                metrics.lag.set(reading.reader.lag)

    def _reading(
        self, topic: TopicTables, opener: StoreOpener, metrics: Metrics, flow: str
    ) -> _Reading:
        reader = TableReader(self._backbone, topic, opener, self._learn, self._notify)
        name = f"table-{topic.topic}"
        return _Reading(
            topic.names,
            reader,
            threading.Thread(target=inheriting(reader.run), name=name, daemon=True),
            [TableMetrics(metrics, flow, table) for table in topic.names],
        )

    def _notify(self) -> None:
        """A reader has caught up, or failed. In its thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)
