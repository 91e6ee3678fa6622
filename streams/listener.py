"""Whom a step tells what becomes of its events: publish, route and deliver alike.

Metrics, alerts and the dead-letter limit listen. A step knows one listener, which may be several
(``Listeners``); each call is about a micro-batch or a call of the sink, never about one event of
many that went well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trunkline.errors import RuleViolations

BrokenRule = tuple[str, str]
"""The full name of a schema's type, and the name of its rule."""


def broken_by(error: BaseException) -> set[BrokenRule]:
    """The rules that one event breaks, if it is for them that it is refused."""
    if not isinstance(error, RuleViolations):
        return set()
    return {(error.type, one.rule) for one in error.violations}


class OutcomeListener:
    """Who wants to know what becomes of events; this one does nothing. Whoever inherits overrides
    what concerns it. No method may block or raise.

    Called where the step works: of route, deliver and a source that is called, in the event loop;
    of a source that reads, in its connector's thread.
    """

    def on_delivered(self, count: int) -> None:
        """So many events were published, routed or delivered."""

    def on_retried(self, error: Exception) -> None:
        """An attempt to deliver an event failed for this reason; another one follows."""

    def on_dead_lettered(self, queue: str, count: int, error: Exception) -> None:
        """So many events were written to this dead-letter queue, the newest for this reason."""

    def on_rules_broken(self, broken: Mapping[BrokenRule, int]) -> None:
        """So many events of those that were dead-lettered broke a rule of their type's schema."""

    def on_left_out(self, topic: str, count: int) -> None:
        """So many records of a source are no events of this canonical topic: its function made None
        of them. ``topic`` "": the flow ignores their streams."""

    def on_held(self, error: Exception) -> None:
        """Nothing goes on for now, and no event is to blame: the destination is down, a schema
        cannot be asked for, a source cannot be read. It is tried again."""

    def on_lag(self, seconds: float) -> None:
        """The age of the oldest event that is not finished, as far as the step tells it."""

    def on_at_risk(self, warnings: Sequence[str]) -> None:
        """What a source's system says will stop the source, or do harm; [] as long as all is well.
        Said every few seconds, from a thread of its own."""


class Listeners(OutcomeListener):
    """Several listeners, told one after the other."""

    def __init__(self, *listeners: OutcomeListener) -> None:
        self._listeners = listeners

    def on_delivered(self, count: int) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.on_delivered(count)

    def on_retried(self, error: Exception) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.on_retried(error)

    def on_dead_lettered(self, queue: str, count: int, error: Exception) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.on_dead_lettered(queue, count, error)

    def on_rules_broken(self, broken: Mapping[BrokenRule, int]) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.on_rules_broken(broken)

    def on_left_out(self, topic: str, count: int) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.on_left_out(topic, count)

    def on_held(self, error: Exception) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.on_held(error)

    def on_lag(self, seconds: float) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.on_lag(seconds)

    def on_at_risk(self, warnings: Sequence[str]) -> None:
        """Tell all of them."""
        for listener in self._listeners:
            listener.on_at_risk(warnings)
