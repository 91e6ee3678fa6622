"""What the delivery step knows of calls: which are over, and what it writes of the others."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from confluent_kafka import Message

from trunkline import naming
from trunkline.connectors.base import HttpReply
from trunkline.errors import Rejected
from trunkline.event import Event, header_number
from trunkline.headers import (
    TL_ACCEPTED_AT,
    TL_ATTEMPT,
    TL_ERROR,
    TL_EXPIRES_AT,
    TL_HALTED,
    TL_OPERATION,
    TL_REPLAY_ID,
)
from trunkline.kafka import PartitionRecord
from trunkline.streams.journal.doubt import InDoubt
from trunkline.streams.journal.over import OverCalls
from trunkline.streams.journal.record import (
    DONE,
    CallRecord,
    CallState,
    call_of,
    epoch_of,
    parsed_call,
    parsed_decision,
)
from trunkline.streams.journal.unanswered import MOST, Unanswered
from trunkline.streams.journal.words import OUR_CREDENTIALS, json_text, shown

KEPT = 86_400.0
"""Seconds that the topic keeps a call, and that a repeated one is known."""
TOGETHER = 2_000
"""Calls that are noted with one write when a worker begins."""
MAX_REPLY = 262_144
"""Bytes of a system's answer that are kept."""
BEHIND = "it waits behind {}"
EARLIER = "an earlier event of the same entity"
EXPIRED = "its time was over before the system had answered an attempt"
HALTED = "it was given up, and waits for a person's decision: "
UNSURE = "an attempt was begun, and its answer is not known"


class JournalWriter(Protocol):
    """Who writes records of the journal apart from the completion of an event: the committer."""

    async def written(self, event: Event[Any], record: PartitionRecord) -> None:
        """Return when Kafka has the record, while the event's partition is ours."""

    def tell(self, inbox: int, record: PartitionRecord) -> None:
        """Write a record with the next commit of this partition of the inbox, if it is ours."""


_Place = tuple[str, int, int]
"""Topic, partition and offset of an event."""


class CallJournal:
    """The calls of one destination, in one worker. ``topic``: the destination's ``.calls``, whose
    partition i belongs to partition i of the inbox; ``clock``: epoch seconds. ``writer`` is set by
    the delivery step.

    For the event loop; ``begin`` for the poll loop's thread, while nothing is under way. Repeats of
    a call have the key of the first one, so they come one after the other.
    """

    writer: JournalWriter

    def __init__(self, topic: str, clock: Callable[[], float]) -> None:
        self.topic = topic
        self._destination = naming.destination_of_calls(topic)
        self._clock = clock
        self._over = OverCalls(KEPT)
        self._ended: dict[_Place, tuple[CallState, dict[str, Any]]] = {}
        self._unsure: set[str] = set()
        self._under_way: set[str] = set()
        self._cancelled: dict[str, CallRecord] = {}
        self._unanswered = Unanswered()
        self._left: list[tuple[CallRecord, int]] = []

    def begin(self, messages: Iterable[Message]) -> dict[int, int]:
        """Begin with what the topic says of the assigned partitions; returns the offsets to go on
        from, of those that have any."""
        over, ended = OverCalls(KEPT), list[tuple[str, float, CallState]]()
        unsure: set[str] = set()
        accepted: dict[str, tuple[CallRecord, int]] = {}
        decisions: list[tuple[CallRecord, int]] = []
        waiting: set[str] = set()
        ends: dict[int, int] = {}
        for message in messages:
            partition, key, value = message.partition() or 0, message.key(), message.value()
            ends[partition] = (message.offset() or 0) + 1
            if (decision := parsed_decision(key, value)) is not None:
                decisions.append((decision, partition))
            elif (found := parsed_call(key, value)) is not None and found[1]:
                # Not a day's: those that are over are taken out again as their end is read.
                if len(accepted) < MOST:
                    accepted[found[0].call] = found[0], partition
            elif found is not None:
                record = found[0]
                accepted.pop(record.call, None)
                # A dead call counts as over, too: a repeat of it is answered so. Re-driven it runs.
                if record.is_over:
                    ended.append((record.call, record.at, record.state))
                    unsure.discard(record.call)
                    waiting.discard(record.call)
                else:
                    waiting.add(record.call)
                    if record.unsure:
                        unsure.add(record.call)
            if len(ended) >= TOGETHER:
                over.put_all(ended)
                ended.clear()
        over.put_all(ended)
        self._over, self._ended, self._unsure, self._under_way = over, {}, unsure, set()
        # What a second gateway has accepted after the end is no new call.
        self._unanswered = Unanswered(
            one for id_, one in accepted.items() if id_ not in waiting and id_ not in over
        )
        self._cancelled = {}
        self._left = decisions
        return ends

    @staticmethod
    def is_call(event: Event[Any]) -> bool:
        """Whether an event is a call of an operation."""
        return event.raw_header(TL_OPERATION) != b""

    def is_over(self, event: Event[Any]) -> bool:
        """Whether this call has its result already, and this record is a repeat of it. One that an
        operator sends again is none, unless it was done meanwhile.

        Nor is one that was accepted a day after that result: the gateway knew nothing of it any
        more, and a caller of today would never hear of a call that was skipped. Measured by when
        it was accepted, not by our clock: what a gateway has forgotten is a new call everywhere.
        """
        over = self._over.get(event.id)
        if over is None or (event.header(TL_REPLAY_ID) and over[1] not in DONE):
            return False
        return epoch_of(event.header(TL_ACCEPTED_AT)) <= over[0] + KEPT

    # What gateways say, apart from the inbox.

    def heard(self, told: Sequence[tuple[int, bytes | None, bytes | None]]) -> None:
        """Take in what gateways have written into the topic since ``begin``, as partition, key and
        value; then end what is to be ended. To be called every second, also with nothing."""
        left, self._left = self._left, []
        for decision, partition in left:
            self._decided(decision, partition)
        for partition, key, value in told:
            if (decided := parsed_decision(key, value)) is not None:
                self._decided(decided, partition)
            elif (found := parsed_call(key, value)) is not None and found[1]:
                record = found[0]
                if record.call not in self._over and record.call not in self._unsure:
                    self._unanswered.add(record, partition)
        # Accepted by a gateway that died before the inbox had it; or it waits for its approval, or
        # in the inbox of a system that is down. Its record in the inbox is skipped then.
        for record, partition in self._unanswered.expired(self._clock()):
            if record.call not in self._under_way:
                self._settle(replace(record, state="expired", why=EXPIRED), partition)

    def _decided(self, wanted: CallRecord, partition: int) -> None:
        """Bring a call into the state that a person wants, unless it is too late for that."""
        over = self._over.get(wanted.call)
        if wanted.state != "cancelled":  # what became of a call in doubt
            if over is not None and over[1] == "in_doubt" and over[0] <= wanted.at:
                self._settle(wanted, partition)
        elif over is None or over[0] + KEPT < wanted.accepted_at:
            # An attempt that is under way decides first; no other follows it then.
            self._cancelled[wanted.call] = wanted
            if wanted.call not in self._under_way and wanted.call not in self._unsure:
                self._settle(wanted, partition)

    def _settle(self, record: CallRecord, partition: int) -> None:
        record = replace(record, at=self._clock(), unsure=False, request=None)
        self._note_over(record.call, record.state)
        self.writer.tell(partition, self._placed(record, partition))

    # What the sink learns, before the step has judged the event.

    def is_unsure(self, event: Event[Any]) -> bool:
        """Whether an attempt was begun of which nobody knows the answer: its worker died, or the
        system did not say."""
        return event.id in self._unsure

    def cancelled(self, event: Event[Any]) -> bool:
        """Whether somebody has cancelled it, who is told so then."""
        wanted = self._cancelled.get(event.id)
        if wanted is None or event.header(TL_REPLAY_ID):
            return False
        self._ended[_place(event)] = "cancelled", {"why": wanted.why}
        return True

    def begun(self, event: Event[Any]) -> None:
        """An attempt begins; ``ended`` must follow."""
        self._under_way.add(event.id)

    def attempt_over(self, event: Event[Any]) -> None:
        """The attempt is over, however."""
        self._under_way.discard(event.id)

    async def write_unsure(self, event: Event[Any]) -> None:
        """Return when Kafka knows that an attempt begins: a worker that comes after us must not
        take it for one that was never made."""
        self._unsure.add(event.id)
        self._unanswered.discard(event.id)
        attempt = header_number(event.header(TL_ATTEMPT))
        record = self._record(event, "attempting", attempt=attempt, why=UNSURE, unsure=True)
        await self.writer.written(event, record)

    def is_sure(self, event: Event[Any]) -> None:
        """The system has done nothing: the attempt may be repeated."""
        self._unsure.discard(event.id)

    def answered(self, event: Event[Any], reply: HttpReply) -> None:
        """The system has done it."""
        text, why = json_text(reply.body, MAX_REPLY)
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
                attempt = header_number(event.header(TL_ATTEMPT)) + (state == "succeeded")
                records.append(self._final(event, state, attempt=attempt, **more))
        return records

    def is_refusal(self, event: Event[Any], failure: Exception) -> bool:
        """Whether a failure is the system's no to what the caller asked for: the caller has the
        answer then, and there is nothing for a dead-letter queue or a person to do. Not of a call
        that a route has made: it is an event, whose refusal a person must see."""
        status = getattr(failure, "status", None)
        return (
            self.is_call(event)
            # A call that a route has made has no such time: nobody waits for its answer.
            and event.header(TL_EXPIRES_AT) != ""
            and isinstance(failure, Rejected)
            and isinstance(status, int)
            and 400 <= status < 500
            and status not in OUR_CREDENTIALS
        )

    def refused(self, event: Event[Any], failure: Exception, attempts: int) -> PartitionRecord:
        """The record of a call that the system has refused."""
        return self._final(event, "rejected", attempt=attempts, **self._told(failure))

    def dead(
        self, event: Event[Any], failure: Exception, attempts: int
    ) -> tuple[PartitionRecord, ...]:
        """The record of a call that is dead-lettered; none of another event."""
        if not self._is_open_call(event):
            return ()
        more = self._told(failure)
        if isinstance(failure, InDoubt) or self.is_unsure(event):
            more["request"] = _kept(event.value)
            return (self._final(event, "in_doubt", attempt=attempts, **more),)
        return (self._final(event, "dead", attempt=attempts, **more),)

    def discarded(self, event: Event[Any]) -> tuple[PartitionRecord, ...]:
        """The record of a call that an operator has discarded; none of another event."""
        if not self._is_open_call(event):
            return ()
        attempt = header_number(event.header(TL_ATTEMPT))
        return (self._final(event, "dead", attempt=attempt, why="an operator has discarded it"),)

    def waiting(
        self, event: Event[Any], due: float, headers: Mapping[str, str], behind: str = ""
    ) -> tuple[PartitionRecord, ...]:
        """The record of a call that goes to a retry topic; none of another event. ``headers``: what
        that topic's record gets; ``behind``: what it waits for, if its own turn has not come."""
        if not self._is_open_call(event):
            return ()
        attempt = header_number(headers.get(TL_ATTEMPT) or event.header(TL_ATTEMPT))
        error = headers.get(TL_ERROR) or event.header(TL_ERROR)
        why = (HALTED if headers.get(TL_HALTED) else "") + error if attempt else _behind(behind)
        state: CallState = "attempting" if attempt else "accepted"
        due_at = 0.0 if headers.get(TL_HALTED) else due
        self._unanswered.discard(event.id)
        more = {
            "due_at": due_at,
            "why": shown(why, self._destination),
            "unsure": self.is_unsure(event),
        }
        return (self._record(event, state, attempt=attempt, **more),)

    def tell_behind(self, event: Event[Any], due: float, behind: str) -> None:
        """Write, with the next commit, that a call waits in the inbox ``behind`` something that is
        due then; nothing of another event."""
        if self._is_open_call(event):
            why = shown(_behind(behind), self._destination)
            attempt = header_number(event.header(TL_ATTEMPT))
            more = {"attempt": attempt, "due_at": due, "why": why, "unsure": self.is_unsure(event)}
            record = self._record(event, "accepted", **more)
            self.writer.tell(event.partition, record)

    def _is_open_call(self, event: Event[Any]) -> bool:
        """Whether a record may say something new of it. A repeat of a call that is over may wait
        behind an event that fails: a record of that would, in the compacted topic, be all that is
        left of the call, whose answer is gone then, and which the next worker runs once more."""
        return self.is_call(event) and not self.is_over(event)

    def _final(self, event: Event[Any], state: CallState, **more: Any) -> PartitionRecord:
        self._note_over(event.id, state)
        return self._record(event, state, **more)

    def _note_over(self, id_: str, state: CallState) -> None:
        self._over.put(id_, self._clock(), state)
        self._unsure.discard(id_)
        self._unanswered.discard(id_)
        self._cancelled.pop(id_, None)

    def _record(self, event: Event[Any], state: CallState, **more: Any) -> PartitionRecord:
        return self._placed(call_of(event, state, self._clock(), **more), event.partition)

    def _placed(self, call: CallRecord, partition: int) -> PartitionRecord:
        headers: list[tuple[str, bytes]] = []
        return PartitionRecord(
            *(self.topic, partition, call.record_key(), call.encoded()),
            headers=headers,
            timestamp=int(call.at * 1000),
        )

    def _told(self, failure: Exception) -> dict[str, Any]:
        status = getattr(failure, "status", None)
        return {
            "why": shown(str(failure), self._destination),
            "status": status if isinstance(status, int) else None,
            "code": str(getattr(failure, "code", ""))[:100],
        }


def _place(event: Event[Any]) -> _Place:
    return event.topic, event.partition, event.offset


def _behind(what: str) -> str:
    return BEHIND.format(what or EARLIER)


def _kept(request: bytes | None) -> str | None:
    """A request as the record of a call has it that waits for a person; None for one too large."""
    return base64.b64encode(request).decode() if request and len(request) <= MAX_REPLY else None
