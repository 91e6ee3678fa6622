"""Since when a partition cannot be routed, whichever worker holds it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trunkline.kafka.offsets import Partition
from trunkline.streams.control.records import ROUTING, StatusKey
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.route.holding import HeldPartition


class HeldSince:
    """Remembers what workers tell of held partitions. For the event loop only.

    Case: a customers' service is away, and pods are replaced one by one, so that partitions go to
    another worker every five minutes. Each begins anew to try; did the time that something is held
    begin anew as well, nobody would be alerted of what waits for hours.
    """

    def __init__(self, control: ControlTopic) -> None:
        self._control = control
        # The newest of each partition. An event that was held is held no more once it is routed,
        # and then it never comes again: so what is remembered needs no end.
        self._known: dict[Partition, tuple[int, float]] = {}

    def start(self) -> None:
        """Begin to follow what workers tell."""
        self._unsubscribe = self._control.subscribe(StatusKey(ROUTING, "").text, self._on_record)

    def stop(self) -> None:
        """End it."""
        self._unsubscribe()

    def of(self, held: HeldPartition) -> float:
        """Since when (epoch seconds) what stands first in it is held."""
        offset: Any = held.messages[0].offset()
        self._remember(held.partition, offset, held.since)
        return self._known[held.partition][1]

    def _on_record(self, key: str, value: Mapping[str, Any] | None) -> None:
        for one in (value or {}).get("held", ()):
            try:
                topic, partition, offset = one["place"].rsplit("/", 2)
                since = datetime.fromisoformat(one["since"]).timestamp()
                self._remember((topic, int(partition)), int(offset), since)
            except (AttributeError, KeyError, TypeError, ValueError):  # another version's record
                continue

    def _remember(self, partition: Partition, offset: int, since: float) -> None:
        known = self._known.get(partition)
        if known is None or offset > known[0]:
            self._known[partition] = (offset, since)
        elif offset == known[0]:
            self._known[partition] = (offset, min(since, known[1]))
