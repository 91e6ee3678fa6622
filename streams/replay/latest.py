"""Which past events are still the latest of their key, while newer ones are routed.

The idea is that of an incremental snapshot (Netflix's DBLog, Debezium): a chunk of the past is
collected between a low and a high watermark of the log, and what the log has between the two takes
the same keys out of the chunk again. Memory is bounded by how much is collected at once.
"""

from __future__ import annotations

MAX_KEYS = 500_000
"""Keys that one window collects: about 100 MB."""


class LatestByKey:
    """The latest event of each key in one window of past events.

    1. The low watermark is the live position when this is made. From here on each live event is
       told to ``on_live_event``.
    2. ``collect`` every event of the window, from the log.
    3. ``supersede`` with every event behind the window up to the low watermark, from the log.
    4. ``seal``: the high watermark. Live events between the two watermarks count now.
    5. ``has`` says which collected events are the latest, as of now: live events go on to count.

    """

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}
        self._between_watermarks: dict[bytes, int] | None = {}

    def __len__(self) -> int:
        return len(self._offsets)

    def collect(self, key: bytes, offset: int) -> None:
        """Take in an event of the window: it may be sent unless a newer one of its key turns up."""
        if offset >= self._offsets.get(key, offset):
            self._offsets[key] = offset

    def supersede(self, key: bytes, offset: int) -> None:
        """Take out what is collected of a key, if it is older than this event."""
        if self._offsets.get(key, offset) < offset:  # a key that is not collected is not
            del self._offsets[key]

    def on_live_event(self, key: bytes, offset: int) -> None:
        """Note an event that was routed just now."""
        if self._between_watermarks is None:
            self.supersede(key, offset)
        else:
            # Its key may be in the window and not yet collected: superseded now, there would be
            # nothing to take out, and the old event would be collected after it.
            newest = self._between_watermarks.get(key, offset)
            self._between_watermarks[key] = max(offset, newest)

    def seal(self) -> None:
        """Everything is collected and read: take live events into account."""
        live, self._between_watermarks = self._between_watermarks or {}, None
        for key, offset in live.items():
            self.supersede(key, offset)

    def has(self, key: bytes, offset: int) -> bool:
        """Whether this event is the latest of its key, and collected."""
        return self._offsets.get(key) == offset
