"""What operators decide about events that halt their keys (``on_dead="halt"``).

A re-drive of a halted event's dead letter decides to ``retry`` it, a discard to ``discard`` it. The
decision is the ``action`` in the control record of a ``HaltKey``, which the worker that delivers
looks at now and then.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from trunkline.event import Event
from trunkline.headers import TL_ATTEMPT, TL_SEQ
from trunkline.streams.dlq.letters import DeadLetter


class HaltedEvent(NamedTuple):
    """One failure of an event for good: its place in the inbox, and after how many attempts."""

    partition: int
    sequence: str
    # Why: an operator has the event retried, and it dies again. Without the attempts, the decision
    # about its first one would stand for the second one too, and retry it for ever; and a worker
    # that removes the first decision late would remove the operator's next one.
    attempts: str


def halted_event_of(one: Event[Any] | DeadLetter, partition: int) -> HaltedEvent:
    """How a decision names a halted event, given as event or dead letter. ``partition``: the
    inbox's.

    A letter stands in a partition of the dead-letter queue, so neither says the inbox's by itself.
    """
    return HaltedEvent(partition, one.header(TL_SEQ), one.header(TL_ATTEMPT))


class HaltDecisions(Protocol):
    """What operators decided about halted events."""

    def decision(self, halted: HaltedEvent) -> str:
        """``retry``, ``discard``, or "" if nothing is decided."""
        ...

    def on_applied(self, halted: HaltedEvent) -> None:
        """What came of the decision is committed: nobody needs it any more."""
        ...
