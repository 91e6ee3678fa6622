"""What one destination is held to at the end, from its own log, its dead letters, and what its
group has not completed. Every fault is told with the key's last requests and what was struck.

- **Nothing lost:** an event is applied, or in the DLQ for its reason. So what the API cannot bear
  is in the DLQ: it looks like an outage each time, and others were answered.
- **Order:** of a key, from one application to the next it goes one event forward or back to an
  earlier one, and ends on the newest (``proof.disorder``). Not counted is what was frozen with its
  worker on its way from there to here: no client can call that back. What halts its key is passed
  by none before its last request, after which somebody has discarded it.
- **Repeats:** an event is applied again only if the answer before was lost by the API's own
  doing, or a strike lies between that explains it.
- **Attempts:** a request or a dead letter counts no more attempts than the API has answered with
  an error that counts (400, 429, 500); a hanging, refusing or 503 API burns none, but of the events
  that alone meet that, whenever they come.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chaos import Strike
from checker import disorder
from confluent_kafka import Message, TopicPartition
from faulty_server import DELIVERED, POISONS, Request

from trunkline import kafka
from trunkline.params import Backbone
from trunkline.streams.deliver.recovery import offsets_from_commits
from worker_kit import header, read

COUNTS = ("400", "429", "500")
"""Answers that use up an attempt. Those of POISONS do so, too, of the events that always get them:
the API is up for all others."""
ATTEMPTS = 4
"""What the policy in anything_flow.py gives: three tiers, and the first attempt."""

ON_ITS_WAY = 5.0
"""Seconds after which a request that is on its way from process to process was frozen there."""

Place = tuple[str, int]
"""An event: its key, and its number within the key."""


@dataclass
class Account:
    """``events``: what the destination was to get, by id; ``lost``: when those requests came whose
    answers were lost; ``open``: ids of the events that the group has not completed; ``fates``: the
    events that are never accepted, and how they are answered; ``halts``: whether a dead letter
    holds up its key, until somebody retries or discards the event. After ``faults``, ``repeats``
    has how often and why events were applied again.
    """

    events: Mapping[str, Place]
    requests: Sequence[Request]
    lost: set[float]
    letters: Sequence[Message]
    open: set[str]
    strikes: Sequence[Strike]
    fates: Mapping[Place, str]
    ordered: bool = True
    halts: bool = False
    repeats: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.applied = [request for request in self.requests if request.applied]
        self.dead = Counter(header(letter, "ce_id") for letter in self.letters)

    def faults(self) -> list[str]:
        """All that is wrong."""
        return [
            *self._lost(),
            *self.unfinished(),
            *(self._disorder() if self.ordered else ()),
            *(self._passed() if self.halts else ()),
            *self._dead_letters(),
            *self._attempts(),
            *self._repeats(),
        ]

    def unfinished(self) -> Iterator[str]:
        """What is open."""
        for id_ in self.open:
            key, number = self.events[id_]
            yield self._told(key, f"{number} is not completed")

    def _lost(self) -> Iterator[str]:
        there = {request.id for request in self.applied} | self.dead.keys()
        for id_ in self.events.keys() - there:
            key, number = self.events[id_]
            yield self._told(key, f"{number} is lost")

    def _disorder(self) -> Iterator[str]:
        lanes: dict[str, list[int]] = defaultdict(list)
        for request in self.applied:
            if request.at - request.sent > ON_ITS_WAY:
                continue
            lanes[request.key].append(request.number)
        for key, lane in lanes.items():
            expected = [str(number) for number in sorted(set(lane))]
            if fault := disorder(expected, [str(number) for number in lane]):
                yield self._told(key, f"out of order: {fault} (of what was applied)")

    def _passed(self) -> Iterator[str]:
        """What was sent before the last request of an earlier one, which was dead by then."""
        in_time = [r for r in self.requests if r.at - r.sent <= ON_ITS_WAY]
        applied = {request.id for request in self.applied}
        for id_ in self.dead.keys() - applied:
            key, number = self.events[id_]
            last = max((r.at for r in in_time if r.id == id_), default=0.0)
            for request in in_time:
                if request.key == key and request.number > number and request.at < last:
                    yield self._told(key, f"{request.number} passed {number}, which halts")

    def _dead_letters(self) -> Iterator[str]:
        deaths = Counter(self._death(letter) for letter in self.letters)
        for letter in self.letters:
            id_ = header(letter, "ce_id")
            key, number = self.events[id_]
            why, attempts = header(letter, "tl_error_class"), int(header(letter, "tl_attempt"))
            if why != (wanted := self._reason(id_)):
                yield self._told(key, f"{number} is dead by {why}, and should be by {wanted}")
            tried = attempts >= ATTEMPTS if self.halts else attempts == ATTEMPTS
            if not tried and why != "Rejected":
                yield self._told(key, f"{number} is dead after {attempts} attempts")
            counted = sum(r.id == id_ and self._counts(r) for r in self.requests)
            if attempts > counted:
                yield self._told(key, f"{number}: {attempts} attempts, {counted} answers count")
            if deaths[self._death(letter)] > 1:
                yield self._told(key, f"{number} has {self.dead[id_]} dead letters")

    def _reason(self, id_: str) -> str:
        """What ends an event that is in the DLQ: its fate, or its last answer where the whole
        destination gave it."""
        fate = self.fates.get(self.events[id_], "")
        if fate not in POISONS:
            return "Rejected" if fate == "400" else "Retryable"
        last = next((r.does for r in reversed(self.requests) if r.id == id_), "")
        return "Retryable" if last in COUNTS else "Unavailable"

    def _death(self, letter: Message) -> tuple[str, int]:
        """One that is tried again by hand may die again, after more attempts."""
        attempts = int(header(letter, "tl_attempt")) if self.halts else 0
        return header(letter, "ce_id"), attempts

    def _attempts(self) -> Iterator[str]:
        counted: Counter[str] = Counter()
        for request in self.requests:
            if request.attempt > counted[request.id]:
                what = f"counts {request.attempt} attempts, and {counted[request.id]} answers do"
                yield self._told(request.key, f"{request.number} {what}")
            counted[request.id] += self._counts(request)

    def _counts(self, request: Request) -> bool:
        fate = self.fates.get((request.key, request.number), "")
        return request.does in COUNTS or (fate in POISONS and request.does not in DELIVERED)

    def _repeats(self) -> Iterator[str]:
        before: dict[str, Request] = {}
        for request in self.applied:
            if earlier := before.get(request.id):
                why = self._explained(earlier, request)
                self.repeats[why] += 1
                if not why:
                    what = f"{request.number} came again at {request.at:.2f} for no reason"
                    yield self._told(request.key, what)
            before[request.id] = request

    def _explained(self, before: Request, again: Request) -> str:
        if before.does not in DELIVERED or before.at in self.lost:
            return f"answer lost ({before.does})"
        # Of several the one that explains most: what hits every worker, else the earliest.
        for strike in sorted(self.strikes, key=lambda one: (one.worker is not None, one.begin)):
            if before.at <= strike.end and again.at >= strike.begin:
                if strike.worker in (None, before.worker):
                    return str(strike)
                if strike.worker == again.worker and again.at <= strike.end:
                    return f"{strike}, after it woke"
        return ""

    def _told(self, key: str, fault: str) -> str:
        lines = [(r.at, _line(r)) for r in self.requests if r.key == key]
        since = lines[-40][0] if len(lines) > 40 else 0.0
        strikes = [(s.begin, f"--- {s} until {s.end:.2f}") for s in self.strikes]
        told = [f"  {at:10.2f} {line}" for at, line in sorted([*lines, *strikes]) if at >= since]
        return "\n".join([f"{key}: {fault}", *told])


def _line(request: Request) -> str:
    done = ", applied" if request.applied else ""
    who = f"{request.number} by {request.worker}, sent {request.sent:.2f}"
    return f"{who}, attempt {request.attempt}: {request.does}{done}"


def uncompleted(backbone: Backbone, group: str, topics: Sequence[str]) -> set[str]:
    """Ids of the events in these topics that a group has not completed, as its commits say."""
    found: set[str] = set()
    reader = kafka.consumer(backbone, group)
    try:
        for topic in topics:
            numbers = reader.list_topics(topic, timeout=30).topics[topic].partitions
            # What a dead worker's transaction is about to commit is waited for.
            cuts = reader.committed([TopicPartition(topic, n) for n in numbers], timeout=120)
            progress = offsets_from_commits(cuts)
            for message in read(backbone, topic):
                at, offset = progress[topic, message.partition() or 0], message.offset() or 0
                if offset >= at.committable and not at.is_done(offset):
                    found.add(header(message, "ce_id"))
        return found
    finally:
        reader.close()
