"""Which flows publish which canonical topics, so that two that publish one are told of each other.

Both may be right by themselves, and nothing of either fails: events of one key come from two sides,
in no order, and each flow's routes get what the other one made. The compacted topic
``trunkline.publishers``, one for all flows of a Kafka, has a record ``<topic>/<flow>`` for each
canonical topic of each flow whose sources run. All workers of a flow write the same record, so a
second worker, a restart or a new version is nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException

from trunkline.kafka import KafkaUnavailable, TopicSpec, admin, existing_topics
from trunkline.params import Backbone
from trunkline.streams.control.clients import ControlClients
from trunkline.streams.control.kafka_topic import ControlWriter, read_control
from trunkline.streams.flow.definition import Flow
from trunkline.tasks import inheriting
from trunkline.times import epoch_seconds, iso

log = logging.getLogger(__name__)

TOPIC = "trunkline.publishers"

INTERVAL = 600.0
"""Seconds between two looks: how late a flow that runs is told of one that starts."""
REPEAT_AFTER = 86_400.0
"""Seconds after which a flow that still runs says so again."""
GONE_AFTER = 3 * REPEAT_AFTER
"""Seconds after which a flow that has not said so is taken for gone, and its record removed."""

STOP_TIMEOUT = 1.0
"""Seconds that an ending worker waits for a look at Kafka."""

TOLD = (
    "topic %s is published by the flow %s, too (it said so at %s): events of one key come from "
    "both, in no order. Publish it in one of the flows, and read it in the other with "
    "existing_topic(). A flow that is gone is forgotten after three days"
)

PublisherState = Mapping[str, Mapping[str, Any]]
PublisherRecords = dict[str, Mapping[str, Any] | None]


def publishers_topic() -> TopicSpec:
    """The topic of all publishers of a Kafka."""
    config = {"segment.bytes": "10485760", "min.cleanable.dirty.ratio": "0.1"}
    return TopicSpec(TOPIC, 1, compact=True, config=config)


def published_by(flow: Flow[Any]) -> list[str]:
    """The canonical topics that a flow publishes; one that it only reads is none."""
    return sorted({topic.topic for topic in flow.topics if topic.sources})


@dataclass(frozen=True, slots=True, order=True)
class Publication:
    """That a flow publishes a canonical topic. ``at``: when it said so last, in epoch seconds."""

    topic: str
    flow: str
    at: float

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.topic}/{self.flow}"

    def value(self) -> Mapping[str, Any]:
        """The value of its record."""
        return {"at": iso(self.at)}

    @classmethod
    def of(cls, key: str, value: Mapping[str, Any]) -> Publication | None:
        """From a record; None for one that we cannot have written: the topic is open to all."""
        topic, _, flow = key.partition("/")
        try:
            at = epoch_seconds(value["at"])
        except (KeyError, TypeError, ValueError):
            return None
        return cls(topic, flow, at) if topic and flow and "/" not in flow else None


def others_of(
    state: PublisherState, flow: str, topics: Collection[str], now: float
) -> list[Publication]:
    """Who else publishes one of these topics of a flow; those that are gone do not."""
    found = [one for one in _parsed(state) if one.topic in topics and one.flow != flow]
    return sorted(one for one in found if now - one.at < GONE_AFTER)


def changes(
    state: PublisherState, flow: str, topics: Collection[str], now: float
) -> PublisherRecords:
    """What a flow has to write: its topics, if it has not said so lately, and the end of what it
    publishes no more; and the end of what another flow has not said for long."""
    there, found = {one.key: one for one in _parsed(state)}, PublisherRecords()
    for one in there.values():
        ended = one.flow == flow and one.topic not in topics
        if ended or now - one.at >= GONE_AFTER:
            found[one.key] = None
    for topic in topics:
        said = Publication(topic, flow, now)
        before = there.get(said.key)
        if before is None or now - before.at >= REPEAT_AFTER:
            found[said.key] = said.value()
    return found


def _parsed(state: PublisherState) -> list[Publication]:
    found = (Publication.of(key, value) for key, value in state.items())
    return [one for one in found if one is not None]


class Announcement:
    """Says which topics a flow publishes, and warns of others who do. ``others``: as of the last
    look. ``failure``: an error that nobody foresaw.

    A thread of its own asks Kafka. Without Kafka, or without the right to read or write the topic,
    it says so and goes on: the flow does not depend on it.
    """

    def __init__(
        self,
        backbone: Backbone,
        flow: str,
        topics: Collection[str],
        *,
        topic: str = TOPIC,
        clock: Callable[[], float] = time.time,
        clients: ControlClients | None = None,
    ) -> None:
        self._backbone = backbone
        self._flow = flow
        self._topics = sorted(set(topics))
        self._topic = topic
        self._clock = clock
        self._writer = ControlWriter(backbone, topic, clients)
        self._stopping = threading.Event()
        # A daemon: a process that ends must not wait for a thread that waits for Kafka.
        self._thread = threading.Thread(target=inheriting(self._run), name="announce", daemon=True)
        self.others: list[Publication] = []
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Say it now and then; returns at once."""
        self._thread.start()

    async def stop(self) -> None:
        """End. The records stay: the next worker of the flow publishes the same."""
        self._stopping.set()
        self._writer.set_deadline(0.0)
        if self._thread.ident is not None:  # it may be stopped before it was started
            await asyncio.to_thread(self._thread.join, STOP_TIMEOUT)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._look()
                self._stopping.wait(INTERVAL)
        except Exception as failure:
            log.exception("which flows publish the same topics cannot be told")
            self.failure = failure

    def _look(self) -> None:
        try:
            others = self.exchange()
        except (KafkaUnavailable, KafkaException) as error:
            log.warning("it is not known which flows publish the same topics: %s", error)
            return
        known = {one.key for one in self.others}
        for one in others:
            if one.key not in known:
                log.warning(TOLD, one.topic, one.flow, iso(one.at))
        self.others = others

    def exchange(self) -> list[Publication]:
        """Say what the flow publishes, and return who else publishes it. Blocks. Raises
        KafkaUnavailable."""
        if self._topic not in existing_topics(admin(self._backbone)):
            raise KafkaUnavailable(f"there is no topic {self._topic!r}: create it, compacted")
        now = self._clock()
        state = read_control(self._backbone, self._topic)
        if written := changes(state, self._flow, self._topics, now):
            self._writer.write(written)
            # Of two that start at once the later one to write reads the other's record.
            state = read_control(self._backbone, self._topic)
        return others_of(state, self._flow, self._topics, now)
