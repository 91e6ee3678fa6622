"""What a call's attempt can be beside done and failed: not made, and of an outcome unknown."""

from __future__ import annotations

from trunkline.errors import DeliveryError, Rejected

UNDONE = frozenset({408, 425, 429, 503})
"""Statuses besides 4xx by which a system says that it has done nothing."""


class NotAsked(Exception):
    """The call ends, and the journal knows how; the system was not asked. So it says nothing of
    the system: an expired call that is a breaker's probe must not close it."""


class InDoubt(Rejected):
    """Whether the system has done it nobody knows, and it must not be sent again. ``asked``:
    whether the system was asked just now."""

    asked: bool = True


def leaves_doubt(failure: Exception) -> bool:
    """Whether the system may have done what it was asked for in spite of this failure.

    It has not where it was never reached, where it refuses (4xx), and where it has no time (503). A
    time-out, a broken connection, a 500 and the word of a gateway before it (502, 504) leave doubt,
    and so does a defect of a sink.
    """
    if not isinstance(failure, DeliveryError):
        return True
    if failure.unsent:
        return False
    status = failure.status
    return not (isinstance(status, int) and (400 <= status < 500 or status in UNDONE))
