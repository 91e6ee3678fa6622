"""The kinds of alerts: how each is counted, when it counts as over, and how it is worded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trunkline.times import format_duration


def _events(amount: float) -> str:
    return f"{amount:,.0f} event{'' if amount == 1 else 's'}"


def _most(amounts: Iterable[float]) -> float:
    return max(amounts, default=0.0)


@dataclass(frozen=True)
class AlertKind:
    """One kind of alert.

    ``total``: what the amounts that single workers see are together. ``quiet``: seconds after
    which it is over, if no worker saw it. ``firing`` and ``over``: what happened, from the
    amount. ``command``: what shows more, of the name ``<flow>.<destination>``.
    """

    name: str
    total: Callable[[Iterable[float]], float]
    quiet: float
    firing: Callable[[float], str]
    over: Callable[[float], str]
    command: str


_STATUS = "trunkline destination status"
_GROUP = "trunkline dlq group"

DEAD_LETTERS = AlertKind(
    "dead_letters",
    sum,
    900.0,
    lambda amount: f"{_events(amount)} dead-lettered",
    lambda amount: f"no more dead letters for 15 min, {_events(amount)} in all",
    _GROUP,
)
BREAKER = AlertKind(
    "breaker",
    _most,
    60.0,
    lambda amount: f"the breaker is open for {format_duration(amount)}, events wait",
    lambda amount: f"the breaker is closed again, it was open for {format_duration(amount)}",
    _STATUS,
)
LAG = AlertKind(
    "lag",
    _most,
    60.0,
    lambda amount: f"events are {format_duration(amount)} late",
    lambda amount: f"events are in time again, the last ones were {format_duration(amount)} late",
    _STATUS,
)
HELD = AlertKind(
    "held",
    _most,
    60.0,
    lambda amount: f"events have not been routed for {format_duration(amount)}, others go on",
    lambda amount: f"all events are routed again, some were not for {format_duration(amount)}",
    _STATUS,
)
DEAD_LETTER_LIMIT = AlertKind(
    "dead_letter_limit",
    sum,
    60.0,
    lambda amount: "the dead-letter limit has tripped: too many dead letters, delivery has stopped",
    lambda amount: "the dead-letter limit is reset, delivery goes on",
    _GROUP,
)

AT_RISK = AlertKind(
    "at_risk",
    _most,
    60.0,
    lambda amount: "the source will stop, or harm its system, unless somebody mends this",
    lambda amount: "nothing threatens the source any more",
    "trunkline source status",
)

ALL_HANDLED_AFTER = 60.0
"""Seconds without a new dead letter after which an alarm of letters that are all re-driven or
discarded is over."""


def dead_letters_left(what: str, left: int, *, at_most: int) -> str:
    """What happened, and how many dead letters of it nobody has handled yet; ``at_most``: where
    counting ended."""
    if not left:
        return "every dead letter is re-driven or discarded"
    more = " or more" if left >= at_most else ""
    return f"{what}; {_events(left)}{more} to re-drive or discard"


_ALL = (DEAD_LETTERS, BREAKER, LAG, HELD, DEAD_LETTER_LIMIT, AT_RISK)
KINDS = {kind.name: kind for kind in _ALL}
