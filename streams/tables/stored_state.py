"""What is kept beside the rows: how far the topic was read, and which topic that was.

It is written with the rows that it belongs to, so a worker that is killed goes on from where its
rows are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1
"""Of rows, entries and state. What another format wrote is thrown away."""


@dataclass(slots=True)
class StoredState:
    """``identity``: what the rows are of; ``offsets``: the next one of each partition.

    ``fresh_at``: epoch seconds, when everything in the topic was read for the last time. Tombstones
    that came later can have been compacted away after ``delete.retention.ms``: a worker that was
    down for that long would keep rows that are deleted.
    ``schemas``: the beginnings of values, which name the schemas that wrote the rows.
    """

    identity: dict[str, Any] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    fresh_at: float = 0.0
    schemas: set[bytes] = field(default_factory=set)
    rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """As ``of`` reads it."""
        return {
            "identity": self.identity,
            "offsets": {str(partition): offset for partition, offset in self.offsets.items()},
            "fresh_at": self.fresh_at,
            "schemas": sorted(prefix.hex() for prefix in self.schemas),
            "rows": self.rows,
        }

    @classmethod
    def of(cls, text: Mapping[str, Any]) -> StoredState:
        """What ``to_json`` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        return cls(
            dict(text["identity"]),
            {int(partition): int(offset) for partition, offset in text["offsets"].items()},
            float(text["fresh_at"]),
            {bytes.fromhex(prefix) for prefix in text["schemas"]},
            int(text["rows"]),
        )

    def why_not(
        self,
        identity: Mapping[str, Any],
        spans: Mapping[int, range],
        delete_retention: float,
        now: float,
    ) -> str:
        """Why the rows cannot be gone on from; "" if they can.

        ``spans``: the offsets that each partition has now; ``delete_retention``: seconds.
        """
        for name, value in identity.items():
            if self.identity.get(name) != value:
                return f"they are of another {name}"
        for partition, offset in self.offsets.items():
            span = spans.get(partition)
            if span is None or offset > span.stop:
                return f"the topic is shorter than they are (partition {partition}, {offset})"
            if offset < span.start:
                return f"records behind them are deleted (partition {partition}, {offset})"
        if now - self.fresh_at > delete_retention:
            return "they are older than the topic keeps its tombstones (delete.retention.ms)"
        return ""
