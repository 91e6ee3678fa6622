"""Dead letters grouped by what they died of, as ``trunkline dlq group`` shows them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from trunkline.streams.dlq.letters import DeadLetter

MAX_GROUPS = 1000
"""Causes that are told apart. The letters of further ones are one group for each stage and class.
Why: a message like ``bad row: <the row>`` makes each of a million letters a cause of its own."""


@dataclass(slots=True)
class CauseGroup:
    """Letters that died of the same.

    ``message``: without the values of one letter, "" for the group of all causes that are not told
    apart. ``first``, ``last``: when its letters died. ``example``: the first one that was read,
    without its value.
    """

    stage: str
    error: str
    message: str
    first: datetime
    last: datetime
    example: DeadLetter
    count: int = 0

    def add(self, letter: DeadLetter) -> None:
        """Count a letter."""
        self.count += 1
        self.first = min(self.first, letter.time)
        self.last = max(self.last, letter.time)


def group_by_cause(letters: Iterable[DeadLetter]) -> list[CauseGroup]:
    """A group for each cause of these letters, the most frequent first."""
    groups: dict[tuple[str, str, str], CauseGroup] = {}
    for letter in letters:
        cause = (letter.stage, letter.error, letter.common_message)
        if cause not in groups and len(groups) >= MAX_GROUPS:
            cause = (letter.stage, letter.error, "")
        if cause not in groups:
            example = replace(letter, value=None)  # a value may be 1 MB, and there are 1000 groups
            groups[cause] = CauseGroup(*cause, letter.time, letter.time, example)
        groups[cause].add(letter)
    return sorted(groups.values(), key=lambda group: (-group.count, group.stage, group.error))
