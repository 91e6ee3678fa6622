"""Which past events are still the newest of their key, while newer ones are routed.

The same idea as the low and high marks of an incremental snapshot (Netflix's DBLog, Debezium): what
is to be sent is collected; whatever is newer of a key, read from the log or routed live meanwhile,
takes it out again. Memory is bounded by how much is collected at once.
"""

from __future__ import annotations

MOST = 500_000
"""Keys that one window collects: about 100 MB."""


class LatestByKey:
    """The newest event of each key in one window of past events.

    First ``collect`` the window, then ``overtake`` with everything behind it up to the live
    position, then ``settle``. Live events are ``heard`` at any time: as collecting has not come to
    all keys yet, what is heard before ``settle`` is kept until then.
    """

    def __init__(self) -> None:
        self._at: dict[bytes, int] = {}
        self._heard: dict[bytes, int] | None = {}

    def __len__(self) -> int:
        return len(self._at)

    def collect(self, key: bytes, offset: int) -> None:
        """An event that is to be sent, unless a newer one of its key turns up."""
        if offset >= self._at.get(key, offset):
            self._at[key] = offset

    def supersede(self, key: bytes, offset: int) -> None:
        """An event that is not to be sent, but newer than what is collected of its key."""
        if self._at.get(key, offset) < offset:
            del self._at[key]

    def on_live_event(self, key: bytes, offset: int) -> None:
        """An event that was routed just now."""
        if self._heard is None:
            self.supersede(key, offset)
        else:
            self._heard[key] = max(offset, self._heard.get(key, offset))

    def seal(self) -> None:
        """Everything is collected, and everything that was routed before is taken into account."""
        heard, self._heard = self._heard or {}, None
        for key, offset in heard.items():
            self.supersede(key, offset)

    def has(self, key: bytes, offset: int) -> bool:
        """Whether this event is to be sent: no newer one of its key has turned up."""
        return self._at.get(key) == offset
