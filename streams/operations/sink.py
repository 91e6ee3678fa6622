"""The sink of a destination that has operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trunkline.connectors.base import HttpReply, HttpRequest, Sink, SqlRequest
from trunkline.errors import DataError, DeliveryError, Rejected, Unavailable
from trunkline.event import Event, header_number
from trunkline.headers import TL_ATTEMPT, TL_CLIENT, TL_EXPIRES_AT, TL_OPERATION, TL_REPLAY_ID
from trunkline.schemas.types import schema_of
from trunkline.streams.flow.annotations import type_of_request
from trunkline.streams.flow.operation import Call, Operation
from trunkline.streams.journal.doubt import InDoubt, NotAsked, leaves_doubt
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.journal.record import epoch_of

NOT_FOUND = 404
"""What a query of ``doubt="check:…"`` is answered where the command was not done."""
IN_DOUBT = "whether the system has done it is not known"


class OperationSink(Sink[Any]):
    """Runs calls, and hands all other events to ``sink``. ``operations``: by their names;
    ``clock``: epoch seconds."""

    def __init__(
        self,
        sink: Sink[Any],
        operations: Mapping[str, Operation[Any]],
        journal: CallJournal,
        clock: Callable[[], float],
    ) -> None:
        self._sink = sink
        self._operations = operations
        self._journal = journal
        self._clock = clock
        self.type = sink.type
        self.accepts_deletes = sink.accepts_deletes
        self.concurrency = sink.concurrency
        self.appends = sink.appends
        self.keeps_timeout = sink.keeps_timeout
        # One event a call: a batch of which one fails may be sent again as a whole, and a call that
        # the system has answered must not be.
        self.max_batch = 1

    async def open(self) -> None:
        """Open the sink."""
        await self._sink.open()

    async def close(self) -> None:
        """Close the sink."""
        await self._sink.close()

    async def deliver(self, events: Sequence[Event[Any]]) -> None:
        """Run a call, or deliver an event. Raises as the sink does, InDoubt, and NotAsked for a
        call that ends without its system."""
        (event,) = events
        if not self._journal.is_call(event):
            await self._sink.deliver(events)
            return
        self._journal.begun(event)
        try:
            await self._run(event)
        finally:
            self._journal.attempt_over(event)

    async def _run(self, event: Event[Any]) -> None:
        """Run a call, unless it has its result already, is cancelled, or came too late.

        The journal learns the answer here, and it is written with the event's completion. A worker
        that dies between leaves the call to the next one, which does what ``doubt=`` says: sends it
        again with the same id; or asks whether it was done; or leaves it to a person. For the last
        two the journal has it in Kafka that an attempt begins, before it begins.
        """
        if self._journal.is_over(event):
            raise NotAsked
        operation = self._operation(event)
        if self._journal.is_unsure(event):
            if await self._is_done(event, operation):
                return
        elif self._ends_unasked(event):
            raise NotAsked
        request = self._request(event, operation)
        if operation.policy.doubt == "retry":
            reply = await self._sink.call(request, event.id, event.traceparent)
        else:
            await self._journal.write_unsure(event)
            reply = await self._once(event, operation, request)
        self._journal.answered(event, reply)

    def _ends_unasked(self, event: Event[Any]) -> bool:
        if self._journal.cancelled(event):
            return True
        expires = epoch_of(event.header(TL_EXPIRES_AT))
        # What was attempted goes its retries, and what an operator sends again is wanted, however
        # late. (Not tl_origin: that says "retry" after the first attempt of a re-driven one.)
        spared = event.header(TL_REPLAY_ID) or header_number(event.header(TL_ATTEMPT))
        if 0 < expires <= self._clock() and not spared:
            self._journal.expired(event)
            return True
        return False

    async def _once(
        self, event: Event[Any], operation: Operation[Any], request: HttpRequest | SqlRequest
    ) -> HttpReply:
        """One attempt of a call that must not be made twice."""
        try:
            return await self._sink.call(request, event.id, event.traceparent)
        except Exception as failure:
            if not leaves_doubt(failure):
                self._journal.is_sure(event)
            # An outage is told as one, for the breaker to learn: the next attempt finds the doubt.
            elif operation.policy.doubt == "ask" and not isinstance(failure, Unavailable):
                raise InDoubt(f"{IN_DOUBT}: {failure}") from failure
            raise

    async def _is_done(self, event: Event[Any], operation: Operation[Any]) -> bool:
        """Whether an attempt was done whose answer was lost; the journal has the answer then.
        Raises InDoubt where nobody can tell."""
        query = operation.check
        if query is None:
            doubt = InDoubt(f"{IN_DOUBT}: the answer of an attempt was lost")
            doubt.asked = False
            raise doubt
        fields = schema_of(type_of_request(query)).parsed["fields"]
        told = {f["name"]: event.data[f["name"]] for f in fields if f["name"] in event.data}
        asked = self._call_of(event, told)
        try:
            reply = await self._sink.call(request_of(query, asked), f"{event.id}/check")
        except Rejected as refused:
            if refused.status != NOT_FOUND:
                raise InDoubt(f"{IN_DOUBT}, and {query.name} cannot tell: {refused}") from refused
            self._journal.is_sure(event)
            return False
        self._journal.answered(event, reply)
        return True

    def _operation(self, event: Event[Any]) -> Operation[Any]:
        name = event.header(TL_OPERATION)
        operation = self._operations.get(name)
        if operation is None or operation.policy.is_query:
            raise Rejected(f"the flow has no operation {name!r} any more")
        return operation

    def _request(self, event: Event[Any], operation: Operation[Any]) -> HttpRequest | SqlRequest:
        return request_of(operation, self._call_of(event, event.data))

    @staticmethod
    def _call_of(event: Event[Any], data: Any) -> Call[Any]:
        attempt = header_number(event.header(TL_ATTEMPT)) + 1
        return Call(data, event.id, event.header(TL_CLIENT), event.key, attempt)


def request_of(operation: Operation[Any], call: Call[Any]) -> HttpRequest | SqlRequest:
    """What the system is asked for in a call. Raises Rejected for a defect of the function."""
    try:
        request = operation.request(call)
    except (DeliveryError, DataError):
        raise
    # A defect of the function: no attempt more would mend it, and a person must see it.
    except Exception as defect:
        raise Rejected(
            f"the operation {operation.name} failed: {type(defect).__name__}"
        ) from defect
    if not isinstance(request, operation.takes):
        made, wanted = type(request).__name__, "values" if operation.policy.sql else "request"
        raise Rejected(f"the operation {operation.name} returned {made}, no {wanted}")
    return request
