"""What becomes of each dead letter that a re-drive or discard reads. No I/O."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

from trunkline.headers import TL_DEAD_FROM, TL_FROM, TL_HALTED
from trunkline.kafka.offsets import Partition
from trunkline.streams.dlq.handled import origin_of
from trunkline.streams.dlq.letters import DeadLetter
from trunkline.streams.replay.latest import LatestByKey
from trunkline.streams.replay.marks import HandledMarks
from trunkline.streams.replay.request import Request

Verdict = Literal[
    "sent", "discarded", "released", "superseded", "skipped", "handled", "not selected"
]
"""What becomes of a letter; but for the last two, people read these words as counts.

- sent: it goes to the inbox, or through today's routes, again;
- discarded: it counts as handled, and that is all;
- released: the event that halts its key is tried again where it waits;
- superseded: its key had a newer event since; it is not sent, and counts as handled: nothing that
  comes later would make it any newer;
- skipped: no route leads any more from the topic that it died in; it stays as it is;
- handled: an earlier request has done it;
- not selected: this request is not about it.
"""

HANDLED_AFTER: tuple[Verdict, ...] = ("sent", "discarded", "released", "superseded", "handled")
"""Verdicts after which a letter is handled."""


class Verdicts:
    """Decides about the dead letters of one canonical partition.

    ``topics``: those that routes lead from to the destination. ``appends``: of its sink. ``marks``:
    what is handled.
    """

    def __init__(
        self,
        request: Request,
        partition: Partition,
        marks: HandledMarks,
        *,
        topics: Container[str],
        appends: bool,
    ) -> None:
        self._request = request
        self._partition = partition
        self._marks = marks
        self._topics = topics
        # A table would go back to the letter's state. A sink that appends has the newer event
        # beside it; and ``force`` is for whoever knows better.
        self.heeds_newer = request.kind == "redrive" and not (request.force or appends)

    def of(self, letter: DeadLetter, latest: LatestByKey | None) -> Verdict:
        """What becomes of a letter as of now. ``latest``: needed if ``heeds_newer``."""
        final = self.final(letter)
        if final is not None:
            return final
        offset = self.offset(letter)
        assert latest is not None
        assert offset is not None
        return "sent" if latest.has(letter.event_key or b"", offset) else "superseded"

    def final(self, letter: DeadLetter) -> Verdict | None:
        """What becomes of a letter whatever is routed meanwhile; None if newer events decide."""
        handled = self._marks.has(letter)
        if handled and not self._request.force:
            return "handled"
        if not self._request.selection.matches(letter):
            return "handled" if handled else "not selected"
        if self._request.kind == "discard":
            return "discarded"
        if letter.header(TL_HALTED):
            # The event waits in the inbox, and all later ones of its key behind it: none is newer.
            return "released"
        if letter.stage == "route" and origin_of(letter.headers)[0] not in self._topics:
            return "skipped"
        return "sent" if not self.heeds_newer or self.offset(letter) is None else None

    def offset(self, letter: DeadLetter) -> int | None:
        """The offset, in our partition, of the event that died.

        None for a letter that no event of ours can supersede: it is of another origin and ours to
        handle only since nobody routes that any more, or it has no key.
        """
        if origin_of(letter.headers) != self._partition or not letter.key:
            return None
        named = TL_FROM if letter.stage == "deliver" else TL_DEAD_FROM
        return int(letter.header(named).removeprefix(f"{self._partition[0]}/").split("/")[1])
