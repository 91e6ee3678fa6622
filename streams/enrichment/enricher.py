"""Calls an enrichment's function for the events of a call, side by side, and keeps its answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from trunkline.errors import Unavailable
from trunkline.event import Event
from trunkline.schemas.codec import Decode, Encode
from trunkline.streams.enrichment.cache import AnswerCache
from trunkline.streams.enrichment.clients import BuildClient, ClientScope
from trunkline.streams.enrichment.errors import meaning
from trunkline.streams.flow.enrichment import EnrichmentPolicy
from trunkline.streams.metrics import DeliveryMetrics, EnrichmentOutcome
from trunkline.tasks import awaited_cancellation_fails


@dataclass(frozen=True, slots=True)
class CompiledEnrichment:
    """An enrichment of the flow with all that a call needs looked up.

    ``fixed``: further arguments that are there already, as the parameters; ``builds``: those that
    are clients, to be opened. ``decode``: reads the inbox's values; ``encode`` and ``read``: give
    what the function returns the form that a value of the sink's type has.
    """

    name: str
    function: Callable[..., Any]
    policy: EnrichmentPolicy
    decode: Decode
    encode: Encode
    read: Decode
    fixed: Mapping[str, Any] = field(default_factory=dict)
    builds: Mapping[str, BuildClient] = field(default_factory=dict)


@dataclass(slots=True)
class Enriched:
    """What became of the events of one call, by their index.

    ``results``: what the sink is to get, None for a message that is dropped; ``failures``: why
    others have none; ``asked``: those that the function was called for, since no answer was kept.
    What is nowhere was not tried, since others found the system unavailable meanwhile, or were told
    that it is asked too much.
    """

    results: dict[int, Event[Any] | None] = field(default_factory=dict)
    failures: dict[int, Exception] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    stopped: bool = False


class Enricher:
    """One destination's enrichment in one worker. ``clock``: epoch seconds. For the event loop."""

    def __init__(
        self,
        compiled: CompiledEnrichment,
        *,
        metrics: DeliveryMetrics,
        clock: Callable[[], float],
    ) -> None:
        self.name = compiled.name
        self.policy = compiled.policy
        self._compiled = compiled
        self._metrics = metrics
        self._cache = AnswerCache(compiled.policy.cache, clock)
        self._slots = asyncio.Semaphore(compiled.policy.concurrent)
        self._clients = ClientScope(compiled.builds)
        self._arguments: Mapping[str, Any] | None = None

    async def open(self) -> None:
        """Open the clients, if they are not open. Raises Unavailable: try again."""
        if self._arguments is not None:
            return
        try:
            clients = await self._clients.open()
        except Unavailable as error:
            raise Unavailable(f"enrichment {self.name}: {error}") from error
        self._arguments = {**self._compiled.fixed, **clients}

    async def close(self) -> None:
        """Close the clients."""
        self._arguments = None
        await self._clients.close()

    async def enrich(self, events: Sequence[Event[Any]]) -> Enriched:
        """Enrich the events of one call. Raises nothing that the function raises.

        1. A delete has no data to enrich, and passes as it is.
        2. An answer that is kept is taken.
        3. The function is called for all others, ``concurrent`` at once in this worker. Once one
           has found its system unavailable, or asked too much, no further call of these begins.
        """
        done, waiting = Enriched(), []
        for index, event in enumerate(events):
            if event.value is None:
                done.results[index] = event
            elif (kept := self._cache.find(event.value)) is not None:
                done.results[index] = self._result(event, kept[0])
                self._metrics.enriched("cached")
            else:
                waiting.append(index)
        if len(waiting) == 1:
            await self._ask(events[waiting[0]], waiting[0], done)
        elif waiting:
            await asyncio.gather(*(self._ask(events[index], index, done) for index in waiting))
        done.asked.sort()
        return done

    async def _ask(self, event: Event[Any], index: int, done: Enriched) -> None:
        async with self._slots:
            # Case: 500 rows of a batch, and the system lets every call hang for its 30 s. Asked one
            # after the other, 20 at a time, they would be over in twelve minutes.
            if done.stopped:
                return
            done.asked.append(index)
            began = time.monotonic()
            try:
                answer = await self._answer(event)
            except Exception as error:  # noqa: BLE001 - whatever a function raises must lose nothing
                failure = done.failures[index] = meaning(error)
                # Case: 429. Each of 500 rows that asked all the same would use up an attempt.
                enough = getattr(failure, "status", None) == HTTPStatus.TOO_MANY_REQUESTS
                done.stopped |= enough or isinstance(failure, Unavailable)
                self._metrics.enriched("failed", time.monotonic() - began)
            else:
                done.results[index] = self._result(event, answer)
                outcome: EnrichmentOutcome = "dropped" if answer is None else "enriched"
                self._metrics.enriched(outcome, time.monotonic() - began)

    async def _answer(self, event: Event[Any]) -> bytes | None:
        """What the function returns for the event, encoded."""
        question, compiled, seconds = event.value, self._compiled, self.policy.timeout
        assert question is not None, "a delete is not enriched"
        assert self._arguments is not None, "it is open"
        # Data of its own for each call: a function may change what it is given, and the next
        # attempt must not see that.
        data, limit = compiled.decode(question), asyncio.timeout(seconds)
        try:
            async with limit:
                with awaited_cancellation_fails():
                    found = await compiled.function(data, **self._arguments)
        except TimeoutError as error:
            if not limit.expired():  # it is the function's own
                raise
            raise Unavailable(f"no answer in {seconds:g} s (timeout=)") from error
        answer = None if found is None else compiled.encode(found)
        self._cache.keep(question, answer)
        return answer

    def _result(self, event: Event[Any], answer: bytes | None) -> Event[Any] | None:
        """The event as the sink gets it: with its own key, headers and place, and other data."""
        if answer is None:
            return None
        read = self._compiled.read
        return Event(
            key=event.key,
            value=event.value,
            headers=event.headers,
            decode=lambda value: read(answer),
            topic=event.topic,
            partition=event.partition,
            offset=event.offset,
        )
