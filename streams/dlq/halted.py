"""What operators decide about events that halt their keys (``on_dead="halt"``).

A decision is about one death: an event that is tried again and dies again has died anew. So it is
obeyed once, however often a worker reads it, and whoever removes it late removes no newer one.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Death(NamedTuple):
    """Which event died, by its place in the inbox, and after how many attempts."""

    partition: int
    sequence: str
    attempts: str


class Headed(Protocol):
    """An event or a dead letter."""

    def header(self, name: str) -> str:
        """A header's text, "" where there is none."""
        ...


def death_of(headed: Headed, partition: int) -> Death:
    """Of a halted event, or of its dead letter. ``partition``: the inbox's."""
    return Death(partition, headed.header("tl_seq"), headed.header("tl_attempt"))


def release_key(destination: str, death: Death) -> str:
    """Of the control record, whose ``action`` is ``retry`` or ``discard``."""
    return f"release/{destination}/{death.partition}/{death.sequence}/{death.attempts}"


class Decisions:
    """What operators decided about halted events. This one: nothing."""

    def decided(self, death: Death) -> str:
        """``retry``, ``discard``, or "" for nothing."""
        return ""

    def obeyed(self, death: Death) -> None:
        """What came of the decision is committed."""
