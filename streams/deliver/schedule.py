"""What happens later: events whose time has not come, and keys that rest after an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from trunkline.event import Event
from trunkline.streams.deliver.actions import ActionRunner
from trunkline.streams.metrics import DeliveryMetrics
from trunkline.streams.retry.decisions import RetryDecisions
from trunkline.streams.retry.delay_queue import NEVER, DelayQueue
from trunkline.streams.retry.key_order import KeyOrder
from trunkline.streams.retry.tiers import Tiers, due_of

MAX_READ_EARLY = 1_000
"""Events that are held in memory at the most because one that an operator wants now stands behind
them in their retry topic. The others go round, as an hour's worth would keep the inbox unread."""
MARGIN = 0.001
"""Seconds that a timer is set late: the event loop may run it a little early, and then nothing
would be due."""


class Schedule:
    """Gives events to key order when their time has come, and frees keys that rest.

    ``clock``: epoch seconds.
    """

    def __init__(
        self,
        inbox: str,
        tiers: Tiers,
        order: KeyOrder,
        runner: ActionRunner,
        decisions: RetryDecisions,
        metrics: DeliveryMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._inbox = inbox
        self._tiers = tiers
        self._order = order
        self._runner = runner
        self._decisions = decisions
        self._metrics = metrics
        self._clock = clock
        self._delayed = DelayQueue()
        self._timer_at = NEVER
        self._last_wake: dict[int, float] = {}
        self._generation = 0

    def start(self, wake: Callable[[], None]) -> None:
        """Begin. ``wake``: called when there may be something to send."""
        self._loop = asyncio.get_running_loop()
        self._wake = wake

    def add(self, event: Event[Any], written: float) -> None:
        """An event of a retry topic, or of an inbox with a delay, was read: give it to key order
        now or when its time has come. ``written``: when it was written, in epoch seconds."""
        at = self._tiers.wake_at(event, written)
        if event.topic == self._inbox:
            # Two routers write into a partition of the inbox, and the clock of one is behind by a
            # second. Its event would be through the delay before the one ahead of it in the
            # partition, perhaps of the same key.
            at = max(at, self._last_wake.get(event.partition, 0.0))
            self._last_wake[event.partition] = at
        if at <= self._clock() or self._decisions.action(event):
            self._on_due(event)
        elif self._is_read_early(event) and len(self._delayed) >= MAX_READ_EARLY:
            self._runner.run(self._order.go_round(event))
        else:
            self._delayed.add(at, event)
            self._set_timer()

    def on_decided(self) -> None:
        """An operator has decided about events that wait: look at those that are in memory."""
        action = self._decisions.action
        for event in self._delayed.take(lambda event: event.topic != self._inbox and action(event)):
            self._on_due(event)
        self._runner.run(self._order.on_decided(action))

    def _is_read_early(self, event: Event[Any]) -> bool:
        """Whether the event was read only since one behind it was decided about."""
        return event.offset < self._decisions.ends().get((event.topic, event.partition), 0)

    def hold(self, events: Sequence[Event[Any]], seconds: float) -> None:
        """Free the keys of these events after a while."""
        self._loop.call_later(seconds, self._free, events, self._generation)

    def clear(self) -> None:
        """Forget everything: the partitions are somebody else's."""
        self._delayed.clear()
        self._last_wake.clear()
        self._generation += 1

    def _set_timer(self) -> None:
        """One timer, for the earliest event."""
        if self._delayed.next_at < self._timer_at:
            self._timer_at = self._delayed.next_at
            delay = max(0.0, self._timer_at - self._clock())
            self._loop.call_later(delay + MARGIN, self._expire)

    def _expire(self) -> None:
        self._timer_at = NEVER
        for event in self._delayed.expire(self._clock()):
            self._on_due(event)
        self._set_timer()
        self._wake()

    def _on_due(self, event: Event[Any]) -> None:
        if event.topic == self._inbox:
            self._runner.run(self._order.on_arrival(event))
        else:
            self._metrics.retry_lateness.observe(max(0.0, self._clock() - due_of(event)))
            self._runner.run(self._order.on_due(event, self._decisions.action(event)))

    def _free(self, events: Sequence[Event[Any]], generation: int) -> None:
        if generation == self._generation:  # else these keys are another worker's
            self._runner.run(self._order.release(events))
        self._wake()
