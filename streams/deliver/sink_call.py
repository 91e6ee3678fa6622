"""One call of the sink: what it was given and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trunkline.errors import DataError, PartialFailure, Rejected
from trunkline.event import Event
from trunkline.streams.admission.gate import Permit

Events = list[Event[Any]]


@dataclass(slots=True, eq=False)
class SinkCall:
    """One call of the sink, from the moment that the gate has admitted it.

    ``batch``: what was taken from the key queues; ``permit``: the gate's, finished once; ``sent``:
    those of the batch that the sink was given; ``unreadable``: those that it cannot be given, each
    with the reason; ``failure``: what the sink raised, or None; ``held``: why nothing could be
    read at all (a registry that is down). ``asked``: whether the system was asked at all; not of a
    call of an operation that ends without it.

    Of a destination with an enrichment, ``enrichment_permit`` is of its breaker, and ``given`` is
    what the sink gets in place of ``sent``. Not among those are ``unenriched``, with the reason;
    ``dropped``, which the enrichment wants nobody to get; and ``untried``, which stand behind
    another one of these, or were not asked about.
    """

    batch: Events
    permit: Permit
    sent: Events = field(default_factory=list)
    unreadable: list[tuple[Event[Any], DataError | Rejected]] = field(default_factory=list)
    failure: Exception | None = None
    held: Exception | None = None
    enrichment_permit: Permit | None = None
    given: Events = field(default_factory=list)
    unenriched: dict[Event[Any], Exception] = field(default_factory=dict)
    dropped: Events = field(default_factory=list)
    untried: Events = field(default_factory=list)
    asked: bool = True

    def finish_enrichment(
        self,
        now: float,
        asked: int = 0,
        failure: Exception | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Finish the enrichment's permit, if that is not done yet; see ``Permit.finish``."""
        permit, self.enrichment_permit = self.enrichment_permit, None
        if permit is not None:
            permit.finish(now, asked, failure, again=again)

    def hold(self, reason: Exception) -> None:
        """Nothing of the call is sent for now, and no event is to blame: all wait in place."""
        self.held = self.failure = reason
        self.sent, self.unreadable = [], []

    @property
    def delivered(self) -> bool:
        """Whether the sink has taken all that could be read."""
        return self.failure is None and not (self.unenriched or self.dropped or self.untried)

    def failures(self) -> Mapping[Event[Any], Exception]:
        """The error of each event that has one."""
        failure, found = self.failure, self.unenriched
        if failure is None:
            return found
        failed: Mapping[int, Exception] = dict.fromkeys(range(len(self.sent)), failure)
        if isinstance(failure, PartialFailure) and failure.failures.keys() <= failed.keys():
            failed = failure.failures
        return {**found, **{self.sent[index]: error for index, error in failed.items()}}

    def break_reference_cycle(self) -> None:
        """Break the circle of an error, its traceback, a frame in it, and this call: else each
        failure waits for the garbage collector, which then stops everything for a while."""
        self.failure = self.held = None
        self.unreadable.clear()
        self.unenriched.clear()
