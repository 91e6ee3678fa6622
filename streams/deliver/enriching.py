"""The part of a call before its sink: events are enriched, and what fails is kept from the sink."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping

from trunkline.errors import DeliveryError, PartialFailure, Retryable, Unavailable
from trunkline.streams.admission.controller import EnrichmentAdmission
from trunkline.streams.admission.gate import Permit
from trunkline.streams.admission.throttle import TOO_MANY
from trunkline.streams.deliver.classifier import ErrorClassifier
from trunkline.streams.deliver.failures import sound_failure
from trunkline.streams.deliver.poison import PoisonDetectors
from trunkline.streams.deliver.sink_call import Events, SinkCall
from trunkline.streams.enrichment.enricher import Enriched, Enricher
from trunkline.streams.flow.policy import Policy


class EnrichmentStage:
    """Enriches the events of one destination's calls.

    ``admission``: breaker and throttle of the system that is asked, which is another one than the
    sink's: the destination is not sent to while they say no, but the calls of the sink say nothing
    to them.
    """

    trouble: str = ""
    """Why the last call of the function found its system unavailable, or what it said when it had
    enough; "": all is well."""

    def __init__(
        self,
        enricher: Enricher,
        admission: EnrichmentAdmission,
        policy: Policy,
        detectors: PoisonDetectors,
    ) -> None:
        self._enricher = enricher
        self._admission = admission
        self._classifier = ErrorClassifier(policy)
        self._holds = policy.outage == "hold"
        self._longest_after = policy.retry.max_retry_after
        self._detectors = detectors

    def acquire(self, now: float, count: int) -> Permit:
        """The permit for a call of so many events, which ``call.finish_enrichment`` finishes."""
        return self._admission.acquire(now, count)

    async def open(self) -> None:
        """Open the clients. Raises Unavailable: try again."""
        await self._enricher.open()

    async def close(self) -> None:
        """Close the clients."""
        await self._enricher.close()

    async def apply(self, call: SinkCall) -> None:
        """Enrich what is to be sent. Then ``call.given`` is what the sink gets, for the events
        ``call.sent``; the others are in ``call.unenriched``, ``call.dropped`` or ``call.untried``.
        """
        enriched = await self._enricher.enrich(call.sent)
        failures = {
            index: self._noted(sound_failure(error, self._longest_after))
            for index, error in enriched.failures.items()
        }
        if enriched.asked:
            judged = {i: self._classifier.classify(error) for i, error in failures.items()}
            down = self._down(judged)
            failure = self._meaning(enriched, down, judged)
            again = self._learn(call.sent, enriched, down)
            now = asyncio.get_running_loop().time()
            call.finish_enrichment(now, len(enriched.asked), failure, again=again)
        self._sort(call, enriched, failures)

    def _noted(self, failure: Exception) -> Exception:
        """With a note of where it comes from, for logs and a dead letter's traceback."""
        note = f"in the enrichment {self._enricher.name}"
        if note not in getattr(failure, "__notes__", ()):  # a function may raise one object always
            failure.add_note(note)
        return failure

    def _down(self, judged: Mapping[int, DeliveryError]) -> dict[int, DeliveryError]:
        """Those that found the system unavailable and are to be held."""
        if not self._holds:
            return {}
        return {index: error for index, error in judged.items() if isinstance(error, Unavailable)}

    def _meaning(
        self,
        enriched: Enriched,
        down: Mapping[int, DeliveryError],
        judged: Mapping[int, DeliveryError],
    ) -> Exception | None:
        """What the breaker hears: an outage if no call of the function was answered; and what the
        throttle does: the answers that say that it was asked too much."""
        enough = {
            index: error
            for index, error in judged.items()
            if isinstance(error, Retryable) and error.status == TOO_MANY
        }
        is_down = down.keys() == {*enriched.asked}
        shown = next(iter((down if is_down else enough).values()), None)
        self.trouble = "" if shown is None else f"enrichment {self._enricher.name}: {shown}"
        return shown if is_down or not enough else PartialFailure(enough)

    def _learn(self, events: Events, enriched: Enriched, down: Mapping[int, Exception]) -> bool:
        asked = [events[index] for index in enriched.asked]
        places = {index: place for place, index in enumerate(enriched.asked)}
        return self._detectors.of_enrichment.on_call(
            asked, {places[index]: error for index, error in down.items()}
        )

    def _sort(self, call: SinkCall, enriched: Enriched, failures: Mapping[int, Exception]) -> None:
        """Say of each event what becomes of it. Behind one that is not sent no other of its key is:
        it might have to wait."""
        blocked: set[Hashable] = set()
        events, call.sent, call.given = call.sent, [], []
        for index, event in enumerate(events):
            key = self._detectors.key(event)
            if key in blocked:
                call.untried.append(event)
            elif index in failures:
                call.unenriched[event] = failures[index]
                blocked.add(key)
            elif index not in enriched.results:
                call.untried.append(event)
                blocked.add(key)
            elif (result := enriched.results[index]) is None:
                call.dropped.append(event)
            else:
                call.sent.append(event)
                call.given.append(result)
