"""The control topic of a flow: what operators ask for, and how far long tasks have come.

One partition, compacted: the newest record of a key is its state, a JSON object. Every worker
reads the topic whole at its start and follows it then. What a worker writes comes back to it
through the topic too, so that all workers see the same changes in the same order.

``ControlTopic`` is what the engine needs of it. ``kafka_topic.py`` has it on Kafka,
``testing/control.py`` in memory; both keep the state and the subscriptions in a ``StateStore``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson
from confluent_kafka import Message

from trunkline import kafka, naming
from trunkline.errors import DataError

log = logging.getLogger(__name__)

Value = dict[str, Any]
Callback = Callable[[str, Value | None], None]
"""Takes a key and its new value; None: the key is gone."""


class ControlTopic(Protocol):
    """A flow's control topic as a worker sees it. For the event loop only.

    ``state``: the newest value of each key. Do not change the values in it.
    """

    state: dict[str, Value]

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` for each key that begins with ``prefix``: now for what is there, then
        for each change, in order, after ``state`` has it. Returns what ends this."""
        ...

    async def put(self, key: str, value: Mapping[str, Any] | None) -> None:
        """Write a value, or with None remove the key. Returns when Kafka has acknowledged it; it
        is in ``state`` once it has come back. Raises KafkaUnavailable."""
        ...


class StateStore:
    """The state of a control topic, and who follows it. For the event loop only.

    ``failure``: what a subscriber's callback raised; the worker must end then.
    """

    def __init__(self) -> None:
        self.state: dict[str, Value] = {}
        self.failure: BaseException | None = None
        self._callbacks: list[tuple[str, Callback]] = []

    def subscribe(self, prefix: str, callback: Callback) -> Callable[[], None]:
        """As ControlTopic says."""
        entry = (prefix, callback)
        self._callbacks.append(entry)
        for key, value in list(self.state.items()):
            self._call(entry, key, value)

        def unsubscribe() -> None:
            if entry in self._callbacks:
                self._callbacks.remove(entry)

        return unsubscribe

    def apply(self, key: str, value: Value | None) -> None:
        """Take over a record that came from the topic, then call whoever follows its key."""
        apply_change(self.state, key, value)
        # A copy: a callback may end its subscription, and the one behind it would be left out.
        for entry in list(self._callbacks):
            self._call(entry, key, value)

    def _call(self, entry: tuple[str, Callback], key: str, value: Value | None) -> None:
        prefix, callback = entry
        if not key.startswith(prefix):
            return
        try:
            callback(key, value)
        # The others are told all the same: a replay's mistake must keep no pause from its sink.
        # The worker ends by `failure`, and the first one is the one to look at.
        except Exception as failure:
            log.exception("the control record %r could not be acted on", key)
            self.failure = self.failure or failure


def control_record(topic: str, key: str, value: Mapping[str, Any] | None) -> kafka.ProducerRecord:
    """A control record, for writers that have a transaction of their own."""
    data = None if value is None else orjson.dumps(dict(value))
    return kafka.ProducerRecord(topic, key.encode(), data, [])


def control_topic(flow: str) -> kafka.TopicSpec:
    """The control topic of the flow of this name. Small segments keep it short."""
    # Every worker reads the topic whole at its start, and Kafka compacts no segment that is still
    # written to: by default up to 1 GB, or a week.
    config = {"segment.bytes": "10485760", "min.cleanable.dirty.ratio": "0.1"}
    return kafka.TopicSpec(naming.control(flow), 1, compact=True, config=config)


def apply_change(state: dict[str, Value], key: str, value: Value | None) -> None:
    """Take over one record; a value of None removes the key."""
    if value is None:
        state.pop(key, None)
    else:
        state[key] = value


def parse_record(message: Message) -> tuple[str, Value | None] | None:
    """Key and value of a record; None for one that we cannot have written, which is logged."""
    key, value = message.key(), message.value()
    try:
        if key is None:
            raise DataError("it has no key")
        parsed = None if value is None else orjson.loads(value)
        if not isinstance(parsed, dict | None):
            raise DataError("its value is no JSON object")
        return key.decode(), parsed
    # Not raised: the record stays in the topic, so every worker of the flow would end, and end
    # again after each restart.
    except (DataError, ValueError) as error:
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        log.error("the control record %s is skipped: %s", place, error)
        return None
