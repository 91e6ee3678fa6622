"""What operators decide about events that wait in retry topics, from the control topic to the
delivery step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from trunkline.errors import DataError
from trunkline.kafka import KafkaUnavailable
from trunkline.streams.control.records import RetryKey
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.deliver.step import DeliveryStep
from trunkline.streams.retry.decisions import RetryDecision

log = logging.getLogger(__name__)


class RetryDecisionFollower:
    """Follows the decisions about the destination of ``step``, and removes those that are over.

    ``clock``: epoch seconds. For the event loop only.
    """

    def __init__(
        self, control: ControlTopic, step: DeliveryStep, clock: Callable[[], float]
    ) -> None:
        self._control = control
        self._step = step
        self._clock = clock
        self._standing: dict[str, RetryDecision] = {}
        self._removal: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Tell the step what is decided, now and from now on."""
        prefix = RetryKey.prefix(self._step.name)
        self._unsubscribe = self._control.subscribe(prefix, self._on_record)

    async def stop(self) -> None:
        """The worker ends."""
        self._unsubscribe()
        if self._removal is not None:
            self._removal.cancel()
            await asyncio.gather(self._removal, return_exceptions=True)

    def expire(self) -> None:
        """Remove decisions that are over; called every second. Any worker may: none obeys them."""
        over = [k for k, one in self._standing.items() if one.ends_at() <= self._clock()]
        # One removal at a time: this is called every second, and without Kafka a write takes 30 s.
        if over and (self._removal is None or self._removal.done()):
            self._removal = asyncio.create_task(self._remove(over))

    def _on_record(self, text: str, value: Mapping[str, Any] | None) -> None:
        key = RetryKey.parse(text)
        if key is None:
            return
        decision = None
        if value is not None:
            try:
                decision = RetryDecision.from_record(value)
            except DataError as error:
                log.error("the control record %r is skipped: %s", text, error)
                return
            self._standing[text] = decision
        else:
            self._standing.pop(text, None)
        self._step.decide(key.partition, key.id, decision)

    async def _remove(self, keys: list[str]) -> None:
        for key in keys:
            try:
                await self._control.put(key, None)
            except KafkaUnavailable as error:  # it is over, and does no harm
                log.warning("the decision %s stays in the control topic: %s", key, error)
                return
