"""What the delivery step knows of calls: which are over, and what it writes of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import Message

from trunkline.connectors.base import HttpReply
from trunkline.errors import Rejected
from trunkline.event import Event, header_number
from trunkline.headers import (
    TL_ACCEPTED_AT,
    TL_ATTEMPT,
    TL_ERROR,
    TL_HALTED,
    TL_OPERATION,
    TL_REPLAY_ID,
)
from trunkline.kafka import PartitionRecord
from trunkline.streams.journal.record import CallState, call_of, epoch_of, parsed_call

KEPT = 86_400.0
"""Seconds that the topic keeps a call, and that a repeated one is known."""
MAX_REPLY = 262_144
"""Bytes of a system's answer that are kept."""
MAX_WHY = 1_000
OUR_CREDENTIALS = (401, 403)
"""Statuses by which a system refuses us and not what the caller asked for."""
BEHIND = "it waits behind an earlier event of the same entity"
EXPIRED = "its time was over before the system had answered an attempt"
HALTED = "it was given up, and waits for a person's decision: "

_Place = tuple[str, int, int]
"""Topic, partition and offset of an event."""


class CallJournal:
    """The calls of one destination, in one worker. ``topic``: the destination's ``.calls``, whose
    partition i belongs to partition i of the inbox; ``clock``: epoch seconds.

    For the event loop; ``begin`` for the poll loop's thread, while nothing is under way. Repeats of
    a call have the key of the first one, so they come one after the other.
    """

    def __init__(self, topic: str, clock: Callable[[], float]) -> None:
        self.topic = topic
        self._clock = clock
        self._over: dict[str, float] = {}  # id → when; in the order of these moments, or nearly
        self._ended: dict[_Place, tuple[CallState, dict[str, Any]]] = {}

    def begin(self, messages: Iterable[Message]) -> None:
        """Begin with what the topic says of the assigned partitions."""
        over: dict[str, float] = {}
        for message in messages:
            found = parsed_call(message.key(), message.value())
            # A dead call counts as over, too: a repeat of it is answered so. Re-driven it runs.
            if found is not None and found[0].is_over and not found[1]:
                over[found[0].call] = found[0].at
        self._over, self._ended = over, {}

    @staticmethod
    def is_call(event: Event[Any]) -> bool:
        """Whether an event is a call of an operation."""
        return event.raw_header(TL_OPERATION) != b""

    def is_over(self, event: Event[Any]) -> bool:
        """Whether this call has its result already, and this record is a repeat of it. One that an
        operator sends again from the dead-letter queue is none.

        Nor is one that was accepted a day after that result: the gateway knew nothing of it any
        more, and a caller of today would never hear of a call that was skipped. Measured by when
        it was accepted, not by our clock: what a gateway has forgotten is a new call everywhere.
        """
        over = self._over.get(event.id)
        if over is None or event.header(TL_REPLAY_ID):
            return False
        return epoch_of(event.header(TL_ACCEPTED_AT)) <= over + KEPT

    # What the sink learns, before the step has judged the event.

    def answered(self, event: Event[Any], reply: HttpReply) -> None:
        """The system has done it."""
        text, why = _json_text(reply.body)
        more = {"status": reply.status, "reply": text, "why": why}
        self._ended[_place(event)] = "succeeded", more

    def expired(self, event: Event[Any]) -> None:
        """Nobody waits for it any more, and no attempt of it has ended."""
        self._ended[_place(event)] = "expired", {"why": EXPIRED}

    # What the step writes, with the event's completion.

    def finished(self, events: Sequence[Event[Any]]) -> list[PartitionRecord]:
        """The records of events that the sink took."""
        records = []
        for event in events:
            # By its place: two requests under one key, for two entities, may be under way at once,
            # and each is told its own answer.
            if self.is_call(event) and (ended := self._ended.pop(_place(event), None)) is not None:
                state, more = ended
                attempt = header_number(event.header(TL_ATTEMPT)) + (state != "expired")
                records.append(self._final(event, state, attempt=attempt, **more))
        return records

    def is_refusal(self, event: Event[Any], failure: Exception) -> bool:
        """Whether a failure is the system's no to what the caller asked for: the caller has the
        answer then, and there is nothing for a dead-letter queue or a person to do."""
        status = getattr(failure, "status", None)
        return (
            self.is_call(event)
            and isinstance(failure, Rejected)
            and isinstance(status, int)
            and 400 <= status < 500
            and status not in OUR_CREDENTIALS
        )

    def refused(self, event: Event[Any], failure: Exception, attempts: int) -> PartitionRecord:
        """The record of a call that the system has refused."""
        return self._final(event, "rejected", attempt=attempts, **_told(failure))

    def dead(
        self, event: Event[Any], failure: Exception, attempts: int
    ) -> tuple[PartitionRecord, ...]:
        """The record of a call that is dead-lettered; none of another event."""
        if not self._is_open_call(event):
            return ()
        return (self._final(event, "dead", attempt=attempts, **_told(failure)),)

    def discarded(self, event: Event[Any]) -> tuple[PartitionRecord, ...]:
        """The record of a call that an operator has discarded; none of another event."""
        if not self._is_open_call(event):
            return ()
        attempt = header_number(event.header(TL_ATTEMPT))
        return (self._final(event, "dead", attempt=attempt, why="an operator has discarded it"),)

    def waiting(
        self, event: Event[Any], due: float, headers: Mapping[str, str]
    ) -> tuple[PartitionRecord, ...]:
        """The record of a call that goes to a retry topic; none of another event. ``headers``: what
        that topic's record gets."""
        if not self._is_open_call(event):
            return ()
        attempt = header_number(headers.get(TL_ATTEMPT) or event.header(TL_ATTEMPT))
        error = headers.get(TL_ERROR) or event.header(TL_ERROR)
        why = (HALTED if headers.get(TL_HALTED) else "") + error if attempt else BEHIND
        state: CallState = "attempting" if attempt else "accepted"
        due_at = 0.0 if headers.get(TL_HALTED) else due
        return (self._record(event, state, attempt=attempt, due_at=due_at, why=why[:MAX_WHY]),)

    def _is_open_call(self, event: Event[Any]) -> bool:
        """Whether a record may say something new of it. A repeat of a call that is over may wait
        behind an event that fails: a record of that would, in the compacted topic, be all that is
        left of the call, whose answer is gone then, and which the next worker runs once more."""
        return self.is_call(event) and not self.is_over(event)

    def _final(self, event: Event[Any], state: CallState, **more: Any) -> PartitionRecord:
        now = self._clock()
        self._over.pop(event.id, None)
        self._over[event.id] = now
        while (oldest := next(iter(self._over))) and self._over[oldest] < now - KEPT:
            del self._over[oldest]
        return self._record(event, state, **more)

    def _record(self, event: Event[Any], state: CallState, **more: Any) -> PartitionRecord:
        now = self._clock()
        call = call_of(event, state, now, **more)
        headers: list[tuple[str, bytes]] = []
        return PartitionRecord(
            *(self.topic, event.partition, call.record_key(), call.encoded()),
            headers=headers,
            timestamp=int(now * 1000),
        )


def _place(event: Event[Any]) -> _Place:
    return event.topic, event.partition, event.offset


def _told(failure: Exception) -> dict[str, Any]:
    status = getattr(failure, "status", None)
    return {
        "why": str(failure).encode(errors="replace").decode()[:MAX_WHY],
        "status": status if isinstance(status, int) else None,
    }


def _json_text(body: bytes) -> tuple[str | None, str]:
    """An answer's body as JSON text, the very characters where it is JSON, so that no digit of a
    number is lost; and what is to be said of it."""
    if not body.strip():
        return None, ""
    if len(body) > MAX_REPLY:
        return None, f"the answer of {len(body)} bytes was not kept: at most {MAX_REPLY} are"
    try:
        orjson.loads(body)
        return body.decode(), ""
    except ValueError:
        return orjson.dumps(body.decode(errors="replace")).decode(), "the answer is no JSON"
