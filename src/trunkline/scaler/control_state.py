"""A flow's control topic as a scaler knows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from confluent_kafka import Message

from trunkline import naming
from trunkline.admin.replays import requests_in
from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.control.topic import Value, apply_change, parse_record


class ControlState:
    """The newest value of each key, as far as the topic was read. For the reader's thread."""

    def __init__(self, flow: str) -> None:
        self.partition: Partition = (naming.control(flow), 0)
        self._values: dict[str, Value] = {}
        # By the second part of the key, which in all that is about a destination is its name. Why:
        # each of 200 destinations would look through all records every two seconds.
        self._parts: defaultdict[str, dict[str, Value]] = defaultdict(dict)
        self._next = 0
        self._span = range(0)
        self._replays: bool | None = None

    def update(self, held: range) -> range:
        """What is to be read now, of what the topic holds. One that was made anew is read again."""
        if held.stop < self._next:
            self._values.clear()
            self._parts.clear()
            self._next, self._replays = 0, None
        self._span = range(max(self._next, held.start), held.stop)
        return self._span

    def add(self, message: Message) -> None:
        """A record was read."""
        if (change := parse_record(message)) is not None:
            key, value = change
            apply_change(self._values, key, value)
            apply_change(self._parts[_part(key)], key, value)
            self._replays = None

    def has_read(self) -> None:
        """All that ``update`` returned is read."""
        self._next = max(self._next, self._span.stop)

    def of(self, destination: str) -> Mapping[str, Value]:
        """The records about a destination."""
        return self._parts.get(destination, {})

    @property
    def replays(self) -> bool:
        """Whether a replay, re-drive or discard is to be done, which the workers that route do."""
        if self._replays is None:
            values = self._values.items()
            asked = {key: value for key, value in values if key.startswith(ReplayKey.PREFIX)}
            running = (one.request.state == "running" for one in requests_in(asked))
            self._replays = any(running)
        return self._replays


def _part(key: str) -> str:
    _, _, rest = key.partition("/")
    return rest.partition("/")[0]
