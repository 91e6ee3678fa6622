"""A source's position in its compacted topic: how it is written, and found again.

The topic has a record under the source's name, the newest of every transaction. What the position
has in ``parts`` stands in records of their own, ``<source>/<part>``, so that a source which
remembers much writes only what has changed. The record of the name tells the ``run``, which is from
one reset of the position to the next: parts of another run are nothing that this position knows.
It also has what was left out on the way there, by canonical topic: in the transaction of the events
beside it, so that the count is exact.

A reset is a record without a position, or one with ``reset``: where the source stood before, for
what it has left at its system.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import Message

from trunkline.connectors.base import Position
from trunkline.kafka import ProducerRecord

PARTS = "parts"


def shown(position: Position | None) -> object:
    """The position for the log, without its parts: they may be megabytes."""
    if not isinstance(position, dict) or PARTS not in position:
        return position or "the beginning"
    return {name: value for name, value in position.items() if name != PARTS}


class StoredPosition:
    """The stored position of one source, for the thread that runs it.

    ``newest``: reads the topic's newest record. ``every``: reads all of them, in their order; asked
    only for a position that has parts.
    """

    def __init__(
        self,
        source: str,
        topic: str,
        *,
        newest: Callable[[], Message | None],
        every: Callable[[], Sequence[Message]],
    ) -> None:
        self._source = source
        self._topic = topic
        self._newest = newest
        self._every = every
        self._run = ""
        self._parts: dict[str, Any] = {}
        self._left_out: Counter[str] = Counter()
        self.reset_at: Position | None = None
        """Where the source stood when an operator reset it, if nothing was published since."""

    def load(self) -> Position | None:
        """The position as it is in Kafka, or None for a source that never ran, or was reset."""
        message = self._newest()
        value = message.value() if message is not None else None
        stored: dict[str, Any] = orjson.loads(value) if value else {}
        self.reset_at = stored.get("reset")
        self._run, self._parts = stored.get("run", ""), {}
        self._left_out = Counter(stored.get("left_out"))
        position: Position | None = stored.get("position")
        if position is None or not self._run:
            return position
        self._parts = self._load_parts()
        return {**position, PARTS: dict(self._parts)}

    def records(
        self, position: Position, left_out: Mapping[str, int] | None = None
    ) -> list[ProducerRecord]:
        """What to write, in the transaction of its batch, for ``position``, the one behind that of
        the call before. ``left_out``: how many records of the batch are no events, by topic. After
        a transaction that failed, ``load`` must come first."""
        self._left_out.update(left_out or {})
        more = {"left_out": self._left_out} if self._left_out else {}
        parts = position.get(PARTS) if isinstance(position, dict) else None
        if parts is None:
            return [self._record("", {"position": position, **more})]
        self._run = self._run or uuid.uuid4().hex
        changed = [
            self._record(f"/{name}", {"run": self._run, "part": part})
            for name, part in parts.items()
            if part != self._parts.get(name)
        ]
        gone = [self._record(f"/{name}", None) for name in self._parts.keys() - parts.keys()]
        self._parts = dict(parts)
        rest = {name: value for name, value in position.items() if name != PARTS}
        # The last one: whoever takes over reads the topic from its end.
        newest = {"position": rest, "run": self._run, **more}
        return [*changed, *gone, self._record("", newest)]

    def _record(self, part: str, value: object) -> ProducerRecord:
        data = None if value is None else orjson.dumps(value)
        return ProducerRecord(self._topic, f"{self._source}{part}".encode(), data, [])

    def _load_parts(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        begin = f"{self._source}/".encode()
        for message in self._every():
            key, value = message.key() or b"", message.value()
            if not key.startswith(begin):
                continue
            name = key.removeprefix(begin).decode()
            stored = orjson.loads(value) if value else {}
            if stored.get("run") == self._run:
                found[name] = stored["part"]
            else:
                found.pop(name, None)
        return found


def stored_position(value: bytes | None) -> tuple[Position | None, Position | None]:
    """What a record of the topic says: the position without its parts, and where the source stood
    when it was reset, if nothing was published since."""
    stored: dict[str, Any] = orjson.loads(value) if value else {}
    return stored.get("position"), stored.get("reset")


def reset_record(source: str, topic: str, position: Position | None) -> ProducerRecord:
    """The record that makes a source begin anew which stands at ``position``."""
    value = None if position is None else orjson.dumps({"position": None, "reset": position})
    return ProducerRecord(topic, source.encode(), value, [])
