"""A destination's system as a script: how it answers, and all that it was asked."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from trunkline.connectors.base import HttpReply, HttpRequest, Sink, SqlRequest
from trunkline.connectors.http import answers as http_answer
from trunkline.connectors.json_values import to_json
from trunkline.errors import DeliveryError, PartialFailure, Unavailable
from trunkline.event import Change, Event
from trunkline.headers import TL_ATTEMPT
from trunkline.naming import delay_of
from trunkline.times import parse_duration

T = TypeVar("T")

Answer = int | Exception
"""What a system answers: an HTTP status, understood as ``HttpSink`` does, or what a sink raises."""

Asked = HttpRequest | SqlRequest
Reply = Callable[[Any], Any]
"""Makes the system's answer of what an operation asks it for; or raises what a sink raises."""

Behaviour = Callable[[Sequence[Event[Any]]], Awaitable[None] | None]
"""What a sink's ``deliver`` does with a batch, a coroutine or not."""


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """One event in one call of a destination.

    ``at``: seconds since the test began, when the call ended; ``error``: None if the event was
    accepted.
    """

    event: Event[T]
    at: float
    error: Exception | None = None

    @property
    def data(self) -> T:
        """What the destination received. Raises NoData for a delete."""
        return self.event.data

    @property
    def id(self) -> str:
        """The event's ``ce_id``."""
        return self.event.id

    @property
    def key(self) -> str:
        """The event's key."""
        return self.event.key

    @property
    def change(self) -> Change:
        """The change verb; ``delete`` has no data."""
        return self.event.change

    @property
    def number(self) -> int:
        """1 for the first attempt of the event; outages that were held do not count."""
        return int(self.event.header(TL_ATTEMPT) or 0) + 1

    @property
    def tier(self) -> str:
        """The retry tier that the event came from, as ``10s``; "" if from the inbox."""
        return delay_of(self.event.topic)

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        return {name: self.event.header(name) for name, _ in self.event.headers}


@dataclass(frozen=True, slots=True)
class CallAttempt:
    """One attempt of a call of an operation, or one query. ``id``: the call's; ``at``: seconds
    since the test began, when it ended; ``error``: None if it was answered."""

    request: Any
    id: str
    at: float
    error: Exception | None = None


@dataclass(slots=True)
class _Refusal:
    matches: Callable[[Event[Any]], bool]
    answer: Answer
    times: float

    def takes(self, event: Event[Any]) -> bool:
        if self.times <= 0 or not self.matches(event):
            return False
        self.times -= 1
        return True


@dataclass
class Script(Generic[T]):
    """How one destination answers in a test: everything is accepted until something else is said.

    Each method that says something returns the script, so that they can be chained. ``attempts``:
    each event of each call that has ended, in order.
    """

    now: Callable[[], float]
    attempts: list[Attempt[T]] = field(default_factory=list)
    calls: list[CallAttempt] = field(default_factory=list)
    """Each attempt of a call that has ended, in order."""
    under_way: int = 0
    """Calls that have not ended."""
    _answers: deque[Exception | None] = field(default_factory=deque)
    _refusals: list[_Refusal] = field(default_factory=list)
    _down_until: float = 0.0
    _takes: float = 0.0
    _behaviour: Behaviour | None = None
    _reply: Reply = field(default=lambda request: {})

    # What the system does.

    def answers(self, answer: Answer, *, times: int = 1, retry_after: str = "") -> Script[T]:
        """The next ``times`` calls get this answer, after those that were said before.

        ``answer``: an HTTP status (200 accepts) or an exception; ``retry_after``: the header of
        that name, as ``"120"``, in seconds.
        """
        self._answers += [_meaning(answer, retry_after)] * times
        return self

    def rejects(
        self,
        matches: Callable[[Event[T]], bool],
        answer: Answer = 422,
        *,
        times: float = float("inf"),
    ) -> Script[T]:
        """Events that match get this answer, others of their batch are accepted; ``times``: as
        often as that."""
        self._refusals.append(_Refusal(matches, answer, times))
        return self

    def down_for(self, duration: str) -> Script[T]:
        """From now on, for ``"10m"``, each call fails as with status 503."""
        self._down_until = self.now() + parse_duration(duration)
        return self

    def down(self) -> Script[T]:
        """Each call fails as with status 503, until ``up``."""
        self._down_until = float("inf")
        return self

    def up(self) -> Script[T]:
        """The outage is over."""
        self._down_until = 0.0
        return self

    def takes(self, duration: str) -> Script[T]:
        """Each call takes so long from now on, as ``"2s"``."""
        self._takes = parse_duration(duration)
        return self

    def does(self, behaviour: Behaviour) -> Script[T]:
        """Call this with each batch: it raises what a sink raises, or returns."""
        self._behaviour = behaviour
        return self

    def replies(self, reply: Reply) -> Script[T]:
        """What a call of an operation is answered: JSON values, made of the HttpRequest or
        SqlRequest; ``{}`` until this is said. It raises what a sink raises, as
        ``Rejected("…", status=404)``."""
        self._reply = reply
        return self

    def recovers(self) -> Script[T]:
        """Forget the whole script: everything is accepted at once from now on."""
        self._answers.clear()
        self._refusals.clear()
        self._down_until = self._takes = 0.0
        self._behaviour = None
        self._reply = lambda request: {}
        return self

    # What it was asked.

    @property
    def delivered(self) -> list[Attempt[T]]:
        """The attempts that were accepted, in order."""
        return [attempt for attempt in self.attempts if attempt.error is None]

    @property
    def failed(self) -> list[Attempt[T]]:
        """The attempts that were not."""
        return [attempt for attempt in self.attempts if attempt.error is not None]

    @property
    def state(self) -> dict[str, T]:
        """What the system has now, if each message overwrites its key and a delete removes it.

        Messages that a route makes of one event have the event's key, and overwrite each other,
        unless it gives each a key of its own: ``Message(data, key=)``."""
        newest = {attempt.key: attempt.event for attempt in self.delivered}
        return {key: e.data for key, e in newest.items() if e.value is not None}

    # The sink's side.

    async def call(self, events: Sequence[Event[T]]) -> None:
        """One call of the destination."""
        self.under_way += 1
        try:
            await self._answer(events)
        except PartialFailure as failure:
            self._note(events, failure.failures)
            raise
        except Exception as failure:
            self._note(events, dict.fromkeys(range(len(events)), failure))
            raise
        else:
            self._note(events, {})
        finally:
            self.under_way -= 1

    async def run(self, request: Asked, id: str) -> HttpReply:
        """One attempt of a call of an operation."""
        self.under_way += 1
        try:
            await self._begin()
            reply = HttpReply(200, to_json(self._reply(request)))
        except Exception as failure:
            self.calls.append(CallAttempt(request, id, self.now(), failure))
            raise
        finally:
            self.under_way -= 1
        self.calls.append(CallAttempt(request, id, self.now()))
        return reply

    async def _begin(self) -> None:
        if self._takes:
            await asyncio.sleep(self._takes)
        if self.now() < self._down_until:
            raise Unavailable("the test has it down (503)", status=503)
        if self._answers and (failure := self._answers.popleft()) is not None:
            raise failure

    async def _answer(self, events: Sequence[Event[T]]) -> None:
        await self._begin()
        if self._behaviour is not None:
            done = self._behaviour(events)
            if inspect.isawaitable(done):
                await done
        self._refuse(events)

    def _refuse(self, events: Sequence[Event[T]]) -> None:
        failures = {
            index: refusal.answer
            for index, event in enumerate(events)
            for refusal in self._refusals
            if refusal.takes(event)
        }
        if not failures:
            return
        raised: dict[int, Any] = {i: _meaning(answer) for i, answer in failures.items()}
        if len(events) == 1:
            raise raised[0]
        raise PartialFailure(raised)

    def _note(self, events: Sequence[Event[T]], failures: Any) -> None:
        now = self.now()
        self.attempts += [Attempt(e, now, failures.get(i)) for i, e in enumerate(events)]


def _meaning(answer: Answer, retry_after: str = "") -> Exception | None:
    """What an answer raises; None: it accepts."""
    if isinstance(answer, Exception):
        return answer
    if 200 <= answer < 300:
        return None
    failure: DeliveryError = http_answer.failure(
        answer, f"the test answers {answer}", retry_after=retry_after
    )
    return failure


class ScriptedSink(Sink[T]):
    """Stands where a destination's own sink would: takes what that takes, and asks the script."""

    def __init__(self, real: Sink[T], script: Script[T]) -> None:
        self.type = real.type
        self.accepts_deletes = real.accepts_deletes
        self.max_batch = real.max_batch
        self.concurrency = real.concurrency
        self.appends = real.appends
        self.takes_calls = real.takes_calls
        self._script = script

    async def deliver(self, events: Sequence[Event[T]]) -> None:
        """As the script says."""
        await self._script.call(events)

    async def call(self, request: Any, id: str, traceparent: str = "") -> HttpReply:
        """As the script says."""
        return await self._script.run(request, id)
