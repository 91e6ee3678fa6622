"""The sink of a destination that has operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trunkline.connectors.base import HttpRequest, Sink
from trunkline.errors import DataError, DeliveryError, Rejected
from trunkline.event import Event, header_number
from trunkline.headers import TL_ATTEMPT, TL_CLIENT, TL_EXPIRES_AT, TL_OPERATION, TL_REPLAY_ID
from trunkline.streams.flow.operation import Call, Operation
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.journal.record import epoch_of


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
        """Run a call, or deliver an event. Raises as the sink does."""
        (event,) = events
        if self._journal.is_call(event):
            await self._run(event)
        else:
            await self._sink.deliver(events)

    async def _run(self, event: Event[Any]) -> None:
        """Run a call, unless it has its result already, or came too late.

        The journal learns the answer here, and it is written with the event's completion. A worker
        that dies between leaves the call to the next one, which sends it again with the same id.
        """
        if self._journal.is_over(event):
            return
        expires = epoch_of(event.header(TL_EXPIRES_AT))
        # What was attempted goes its retries, and what an operator sends again is wanted, however
        # late. (Not tl_origin: that says "retry" after the first attempt of a re-driven one.)
        spared = event.header(TL_REPLAY_ID) or header_number(event.header(TL_ATTEMPT))
        if 0 < expires <= self._clock() and not spared:
            self._journal.expired(event)
            return
        request = self._request(event)
        reply = await self._sink.call(request, event.id, event.traceparent)
        self._journal.answered(event, reply)

    def _request(self, event: Event[Any]) -> HttpRequest:
        name = event.header(TL_OPERATION)
        operation = self._operations.get(name)
        if operation is None:
            raise Rejected(f"the flow has no operation {name!r} any more")
        attempt = header_number(event.header(TL_ATTEMPT)) + 1
        call = Call(event.data, event.id, event.header(TL_CLIENT), event.key, attempt)
        try:
            request = operation(call)
        except (DeliveryError, DataError):
            raise
        # A defect of the function: no attempt more would mend it, and a person must see it.
        except Exception as defect:
            raise Rejected(f"the operation {name} failed: {type(defect).__name__}") from defect
        if not isinstance(request, HttpRequest):
            raise Rejected(f"the operation {name} returned {type(request).__name__}, no request")
        return request
