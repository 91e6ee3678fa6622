"""How far a partition is delivered: a prefix, and what is completed beyond it.

Events of different keys complete out of order. A commit is the prefix's end as the offset and,
in the commit's metadata, a bitmap of what is completed beyond, so that a restart repeats only
what was really under way.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections import deque

from trunkline.errors import TrunklineError

METADATA_LIMIT = 4000
"""The broker takes 4,096 bytes of commit metadata (offset.metadata.max.bytes)."""
MAX_OFFSET_SPAN = 20_000
"""Offsets beyond the prefix that the bitmap may cover: even an incompressible one fits."""


class CorruptMetadata(TrunklineError):
    """A commit's metadata is not ours: somebody else commits for this group."""


class PartitionOffsets:
    """One partition's progress from ``start`` on. ``metadata``: of the commit at ``start``."""

    def __init__(self, start: int = 0, metadata: str = "") -> None:
        self._open: deque[int] = deque()  # read, and beyond the prefix; completed ones, too
        self._written: deque[float] = deque()  # when, for each of them
        self._done = decode_completed(start, metadata)
        self._incomplete = 0
        self._end = start
        self.changed = False

    def receive(self, offset: int, written: float = 0.0) -> bool:
        """Note that an event was read, which was ``written`` then (any unit); False if it was
        completed before a restart."""
        self._end = offset + 1
        completed = offset in self._done
        if completed and not self._open:
            self._done.discard(offset)
            return False
        self._open.append(offset)
        self._written.append(written)
        if not completed:
            self._incomplete += 1
        return not completed

    def complete(self, offset: int) -> bool:
        """The event at ``offset``, which was received, is delivered or dead-lettered; False if
        that was known."""
        waiting, done = self._open, self._done
        if offset in done or not waiting or offset < waiting[0]:
            return False
        done.add(offset)
        self._incomplete -= 1
        self.changed = True
        while waiting and waiting[0] in done:
            done.discard(waiting.popleft())
            self._written.popleft()
        return True

    def is_done(self, offset: int) -> bool:
        """Whether the event at an offset that was not received yet is completed."""
        return offset in self._done

    def incomplete_in(self, held: range) -> int:
        """How many of the offsets that a partition holds are not completed, if this is its commit;
        of transaction markers, too."""
        # A commit's metadata tells of MAX_OFFSET_SPAN offsets; nothing beyond can be completed.
        left = range(max(held.start, self.committable), held.stop)
        told, beyond = left[:MAX_OFFSET_SPAN], left[MAX_OFFSET_SPAN:]
        return sum(not self.is_done(offset) for offset in told) + len(beyond)

    @property
    def committable(self) -> int:
        """Everything before this offset is completed."""
        return self._open[0] if self._open else self._end

    @property
    def end(self) -> int:
        """Everything before this offset was read, or completed before a restart."""
        return self._end

    @property
    def incomplete(self) -> int:
        """How many events were read and are not completed."""
        return self._incomplete

    @property
    def oldest(self) -> float | None:
        """When the oldest event was written that is not completed; None if all are."""
        return self._written[0] if self._written else None

    @property
    def window(self) -> int:
        """How many offsets lie between the prefix and the newest event read."""
        return self._end - self.committable

    def to_commit(self) -> tuple[int, str]:
        """The offset and the metadata to commit now."""
        self.changed = False
        prefix = self.committable
        return prefix, encode_completed(prefix, self._done)


def encode_completed(prefix: int, done: set[int]) -> str:
    """A bitmap of ``done`` relative to ``prefix``, deflated, base64. Text of at most 4,000 bytes:
    completed events beyond what fits are left out, and would be repeated."""
    beyond = [offset - prefix for offset in done if prefix <= offset < prefix + MAX_OFFSET_SPAN]
    if not beyond:
        return ""
    bits = bytearray(max(beyond) // 8 + 1)
    for bit in beyond:
        bits[bit >> 3] |= 1 << (bit & 7)
    text = base64.b64encode(zlib.compress(bytes(bits), 1)).decode()
    while len(text) > METADATA_LIMIT:
        del bits[len(bits) * 3 // 4 :]
        text = base64.b64encode(zlib.compress(bytes(bits), 1)).decode()
    return text


def decode_completed(prefix: int, metadata: str) -> set[int]:
    """The completed offsets beyond ``prefix``. Raises CorruptMetadata."""
    if not metadata:
        return set()
    try:
        bits = zlib.decompress(base64.b64decode(metadata, validate=True))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise CorruptMetadata(f"the commit at {prefix} has metadata of another program") from error
    return {
        prefix + (index << 3) + bit
        for index, byte in enumerate(bits)
        if byte
        for bit in range(8)
        if byte >> bit & 1
    }
