"""Whether everything arrived, once and in order: what came against what the airport did.

Order is judged per key, as it is promised. A repeat is a duplicate, unless it is the last that a
key saw and an older one: then the destination was left on an older state, which is out of order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trunkline.demo.expect import DELETED, Expectation, Expected


class Arrival(NamedTuple):
    """A message that came to a destination."""

    key: str
    content: Hashable
    moment: float


@dataclass
class Verdict:
    """What became of a destination's messages.

    ``unexpected``: came, but the airport did nothing of the kind. ``delays``: of each message that
    came, the moment it was due and the seconds until it came.
    """

    name: str
    expected: int = 0
    delivered: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    missing: int = 0
    unexpected: int = 0
    delays: list[tuple[float, float]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything arrived as it should. Duplicates may: delivery is at-least-once."""
        return not (self.missing or self.out_of_order or self.unexpected)


def judge_messages(name: str, due: Expectation, arrivals: Iterable[Arrival]) -> Verdict:
    """A destination that must receive every message."""
    verdict = Verdict(name)
    keys = _followed(verdict, due, arrivals)
    verdict.expected = sum(len(messages) for messages in due.values())
    verdict.delivered = sum(len(key.seen) for key in keys.values())
    verdict.missing = verdict.expected - verdict.delivered
    return verdict


def judge_table(
    name: str,
    due: Expectation,
    writes: Iterable[Arrival],
    source: Mapping[str, Sequence[Any]],
    table: Mapping[str, Sequence[Any]],
) -> Verdict:
    """A table that must end as the source's, row by row, and may pass over states between.

    ``writes``: all that were made to it. Expected and delivered are counted in flights, those
    that were deleted too.
    """
    verdict = Verdict(name)
    _followed(verdict, due, writes)
    wrong = [id for id, states in due.items() if not _ends_right(id, states, source, table)]
    verdict.expected = len(due)
    verdict.missing = len(wrong)
    verdict.delivered = verdict.expected - verdict.missing
    verdict.unexpected += len(table.keys() - due.keys())
    return verdict


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of the values do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else None


class _Key:
    """One key, followed through what came for it."""

    def __init__(self, messages: Sequence[Expected]) -> None:
        self.place = {message.content: n for n, message in enumerate(messages)}
        self.messages = messages
        self.seen: set[int] = set()
        self.newest = -1
        self.left_on_older = False

    def follow(self, arrival: Arrival, verdict: Verdict) -> None:
        place = self.place.get(arrival.content)
        if place is None:
            verdict.unexpected += 1
            return
        repeated = place in self.seen
        self.left_on_older = repeated and place < self.newest
        if repeated:
            verdict.duplicates += 1
            return
        verdict.out_of_order += place < self.newest
        self.newest = max(self.newest, place)
        self.seen.add(place)
        since = self.messages[place].since
        if since is not None:
            verdict.delays.append((since, arrival.moment - since))


def _followed(verdict: Verdict, due: Expectation, arrivals: Iterable[Arrival]) -> dict[str, _Key]:
    keys = {key: _Key(messages) for key, messages in due.items()}
    for arrival in arrivals:
        if key := keys.get(arrival.key):
            key.follow(arrival, verdict)
        else:
            verdict.unexpected += 1
    verdict.out_of_order += sum(key.left_on_older for key in keys.values())
    return keys


def _ends_right(
    id: str,
    states: Sequence[Expected],
    source: Mapping[str, Sequence[Any]],
    table: Mapping[str, Sequence[Any]],
) -> bool:
    """The same row in both tables, or in neither; and deleted only if the airport deleted it."""
    deleted = states[-1].content == DELETED
    return (id not in source) == deleted and table.get(id) == source.get(id)
