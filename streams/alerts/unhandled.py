"""How many dead letters nobody has handled yet: what a reminder says is left, and whether an alert
of dead letters is over.

Counted in the queue itself whenever it is to be told, never added up on the way. Why: what was
re-driven or discarded meanwhile, by whomever, and what died before this worker started, stand
there and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from confluent_kafka import KafkaException

from trunkline import naming
from trunkline.kafka import KafkaUnavailable
from trunkline.params import Backbone
from trunkline.streams.control.records import HandledKey
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.dlq.handled import HandledLetters
from trunkline.streams.dlq.queue import DeadLetterQueue
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

MAX_COUNTED = 10_000
"""Letters after which counting ends: people are told "10,000 or more"."""

CLOCKS = 30.0
"""Seconds before an alarm's begin from which on letters are counted: clocks differ."""

COUNT_INTERVAL = 5.0
"""Seconds between two counts of a queue, while people re-drive one letter after the other."""


class LetterCounter(Protocol):
    """Counts the letters of one flow's dead-letter queues."""

    async def unhandled(self, name: str, since: float, handled: HandledLetters) -> int:
        """How many letters of a destination or source were written since then (epoch seconds) and
        are not ``handled``, MAX_COUNTED at the most. Raises KafkaUnavailable, KafkaException."""
        ...


class QueueCounter:
    """A ``LetterCounter`` that reads the queues, each in a thread of its own."""

    def __init__(self, backbone: Backbone, flow: str) -> None:
        self._backbone = backbone
        self._flow = flow

    async def unhandled(self, name: str, since: float, handled: HandledLetters) -> int:
        """As LetterCounter says."""
        return await asyncio.to_thread(self._count, naming.dlq(self._flow, name), since, handled)

    def _count(self, topic: str, since: float, handled: HandledLetters) -> int:
        queue = DeadLetterQueue(self._backbone, topic, handled, since=since)
        return sum(1 for _ in islice(queue.letters(), MAX_COUNTED))


@dataclass(frozen=True, slots=True)
class LetterCount:
    """What one count found. ``letters``: how many are not handled; None if the queue could not be
    read. ``since``: of the alarm. ``began``, ``ended``: epoch seconds."""

    letters: int | None
    since: float
    began: float
    ended: float


class UnhandledLetters:
    """The newest count of each queue of which an alarm is told. For the event loop only.

    ``failure``: an error that nobody foresaw; the worker must end then.
    """

    def __init__(
        self, counter: LetterCounter, control: ControlTopic, clock: Callable[[], float]
    ) -> None:
        self.failure: BaseException | None = None
        self._counter = counter
        self._control = control
        self._clock = clock
        self._counts: dict[str, LetterCount] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed: set[str] = set()
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Follow what is handled; the control topic has been started."""
        self._unsubscribe = self._control.subscribe(HandledKey.PREFIX, self._on_record)

    async def stop(self) -> None:
        """The worker ends."""
        self._unsubscribe()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def of(self, name: str, since: float) -> LetterCount | None:
        """The newest count of an alarm that began then; None before there is one.

        Where letters were handled since the last count, a new one begins.
        """
        newest = self._counts.get(name)
        if newest is not None and newest.since != since:
            newest = None
        rested = newest is None or self._clock() - newest.ended > COUNT_INTERVAL
        if name in self._changed and rested:
            self.count(name, since)
        return newest

    def count(self, name: str, since: float) -> None:
        """Count anew, unless that is under way."""
        if self.is_counting(name):
            return
        self._changed.discard(name)  # before the state is taken: what changes from here on counts
        self._tasks[name] = supervised_task(
            self._count(name, since), f"count-letters-of-{name}", self._failed
        )

    def is_counting(self, name: str) -> bool:
        """Whether a count is under way."""
        return name in self._tasks and not self._tasks[name].done()

    async def _count(self, name: str, since: float) -> None:
        began, letters = self._clock(), None
        handled = HandledLetters(self._control.state, name)
        try:
            letters = await self._counter.unhandled(name, since - CLOCKS, handled)
        except (KafkaUnavailable, KafkaException) as error:
            log.warning("the dead letters of %s cannot be counted: %s", name, error)
        self._counts[name] = LetterCount(letters, since, began, self._clock())

    def _on_record(self, key: str, value: Mapping[str, Any] | None) -> None:
        handled = HandledKey.parse(key)
        if handled is not None:
            self._changed.add(handled.name)

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure
