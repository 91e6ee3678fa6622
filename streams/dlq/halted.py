"""What operators decide about events that halt their keys (``on_dead="halt"``).

A decision is about one death: an event that is tried again and dies again has died anew. So it is
obeyed once, however often a worker reads it, and whoever removes it late removes no newer one. Its
control record is that of a ``HaltKey``; its ``action`` is ``retry`` or ``discard``.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from trunkline.headers import TL_ATTEMPT, TL_SEQ


class HaltedEvent(NamedTuple):
    """Which event died, by its place in the inbox, and after how many attempts."""

    partition: int
    sequence: str
    attempts: str


class Headed(Protocol):
    """An event or a dead letter."""

    def header(self, name: str) -> str:
        """A header's text, "" where there is none."""
        ...


def halted_event_of(headed: Headed, partition: int) -> HaltedEvent:
    """Of a halted event, or of its dead letter. ``partition``: the inbox's."""
    return HaltedEvent(partition, headed.header(TL_SEQ), headed.header(TL_ATTEMPT))


class HaltDecisions(Protocol):
    """What operators decided about halted events."""

    def decision(self, death: HaltedEvent) -> str:
        """``retry``, ``discard``, or "" if nothing is decided."""
        ...

    def on_applied(self, death: HaltedEvent) -> None:
        """What came of the decision is committed: it is no more needed."""
        ...
