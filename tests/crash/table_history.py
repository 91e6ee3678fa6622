"""What a destination that keeps a table is held to at the end.

- **Nothing lost, routed once:** what is published and can be read stands in the inbox, once, and is
  completed. Each row has the number of its key's newest event.
- **Nothing burnt:** no attempt is used up, and so nothing is dead, by a table that is away, a row
  that a frozen worker keeps locked, or a registry that answers nonsense.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from history import Place


@dataclass(frozen=True)
class TableAccount:
    """``routed``: what the inbox has; ``dead``: what the DLQ has, and why; ``retried``: how many
    records the retry topics have got; ``open``: how many events the group has not completed;
    ``rows``: numbers by key."""

    events: Sequence[Place]
    routed: Sequence[Place]
    dead: Mapping[Place, str]
    retried: int
    open: int
    rows: Mapping[str, int]

    def faults(self) -> Iterator[str]:
        """All that is wrong."""
        yield from differences("routed", self.events, self.routed)
        if self.open:
            yield f"{self.open} are not completed"
        if self.retried:
            yield f"{self.retried} attempts were used up"
        for place, why in self.dead.items():
            yield f"{place} is dead: {why}"
        newest = dict(sorted(self.events))
        for key in sorted(self.rows.keys() | newest):
            if self.rows.get(key) != newest.get(key):
                yield f"{key} has {self.rows.get(key)} in the table, and should {newest.get(key)}"


def differences(what: str, wanted: Sequence[Place], found: Sequence[Place]) -> Iterator[str]:
    """How those that are found differ from those that were to be."""
    missing, more = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
    if missing:
        yield f"{missing.total()} of {len(wanted)} are not {what}: {sorted(missing)[:5]}"
    if more:
        yield f"{more.total()} are {what} that should not be, or again: {sorted(more)[:5]}"
