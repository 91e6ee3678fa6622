"""One destination's topics in memory: the ``Broker`` of the delivery step, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from trunkline.kafka import PartitionRecord
from trunkline.kafka.messages import StoredMessage, partition_of
from trunkline.kafka.offsets import Partition
from trunkline.kafka.poll_loop import MicroBatch, PollListener
from trunkline.streams.deliver.step import DeliveryStep
from trunkline.testing.topics import Generation, Topics

EVERYTHING = 1 << 40


class MemoryBroker:
    """The topics of one destination as one worker has them: a ``streams.deliver.broker.Broker``."""

    def __init__(self, topics: Topics, group: str) -> None:
        self._topics = topics
        self._group = group
        self._dead = False

    def reader(
        self,
        topics: list[str],
        *,
        max_in_flight: int,
        resume_at: Callable[[Message], float],
    ) -> MemoryConsumer:
        """A reader of these topics, not started."""
        return MemoryConsumer(
            self._topics, self._group, topics, max_in_flight=max_in_flight, resume_at=resume_at
        )

    def read_pending(self, starts: list[TopicPartition]) -> Iterator[Message]:
        """What is in these partitions from these offsets on."""
        for at in starts:
            place = (at.topic, at.partition)
            yield from cast(Any, self._topics.read(place, max(0, at.offset), EVERYTHING))

    async def write(
        self, records: list[PartitionRecord], offsets: list[TopicPartition], group: Any
    ) -> None:
        """One transaction, which is there half-way through its latency."""
        topics = self._topics
        await asyncio.sleep(topics.latency / 2)
        if self._dead:
            await asyncio.get_running_loop().create_future()  # nobody is there to answer
        if topics.failures:
            topics.failures -= 1
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        topics.transact(records, offsets, group)
        await asyncio.sleep(topics.latency / 2)

    def die(self) -> None:
        """The worker is killed: nothing that it writes arrives any more."""
        self._dead = True

    def close(self) -> None:
        """Nothing to release."""


class MemoryConsumer:
    """A group's only consumer: a ``streams.deliver.broker.Consumer``. To its listener it is also
    the consumer of confluent-kafka, which that one asks for committed offsets.

    It pauses, resumes and counts epochs as Kafka's ``PollLoop`` does, but in the event loop, as
    there are no threads. So it awaits the step's ``leave`` where a poll loop's thread would block
    in ``on_revoked`` until the event loop has done it.
    """

    def __init__(
        self,
        topics: Topics,
        group: str,
        names: list[str],
        *,
        max_in_flight: int,
        resume_at: Callable[[Message], float],
    ) -> None:
        self.epoch = 0
        self.group: Any = Generation(group, 0)
        self.ready = False
        self.failure: BaseException | None = None
        self._topics = topics
        self._name = group
        self._places = [(name, p) for name in names for p in range(topics.partitions)]
        self._step: DeliveryStep
        self._max_in_flight = max_in_flight
        self._resume_at = resume_at
        self._positions: dict[Partition, int] = {}
        self._waits: dict[Partition, float] = {}
        self._through: dict[Partition, int] = {}
        self._in_flight = 0
        self._held: frozenset[Partition] = frozenset()
        self._asked = False
        self._lag: int | None = None  # as last counted
        self._alarm: asyncio.TimerHandle | None = None
        self._deaf: Callable[[], None] = lambda: None

    # The reader's owner.

    def start(self, listener: PollListener) -> None:
        """Join the group and read."""
        self._step = cast(DeliveryStep, listener)
        self._loop = asyncio.get_running_loop()
        self._deaf = self._topics.listen(self.wake)
        self._assign()

    async def stop(self) -> None:
        """Leave the group, which finishes and commits everything."""
        await self._revoke(lost=False)
        self._deaf()

    async def rebalance(self, *, lost: bool = False) -> None:
        """Lose all partitions and get them again; ``lost``: without a chance to commit."""
        if lost:
            self._topics.join(self._name)
        await self._revoke(lost=lost)
        self._assign()

    async def die(self) -> None:
        """The worker is killed: what it has not committed is lost."""
        await self._revoke(lost=True)
        self._deaf()

    def finished(self, count: int, epoch: int) -> None:
        """So many messages that were received in that epoch are done with."""
        if epoch == self.epoch:
            self._in_flight -= count
            self.wake()

    def hold(self, partitions: frozenset[Partition]) -> None:
        """Read nothing more of these partitions, and go on with all others."""
        self._held = partitions
        self.wake()

    def read_through(self, ends: Mapping[Partition, int]) -> None:
        """Read these partitions up to these offsets at once, due or not; all others as ever."""
        self._through = dict(ends)
        self.wake()

    @property
    def lag(self) -> int:
        """Records that nobody has read."""
        if self._lag is None:
            at = self._positions.items()
            self._lag = sum(max(0, self._topics.end(place) - offset) for place, offset in at)
        return self._lag

    # The consumer that the listener sees.

    def committed(
        self, partitions: list[TopicPartition], timeout: float = 0.0
    ) -> list[TopicPartition]:
        """Where the group stands, with the commits' metadata."""
        del timeout
        return [self._topics.committed(self._name, at) for at in partitions]

    def get_watermark_offsets(
        self, at: TopicPartition, timeout: float = 0.0, cached: bool = False
    ) -> tuple[int, int]:
        """The first offset that is there, and the one behind the last."""
        del timeout, cached
        return self._topics.extent((at.topic, at.partition))

    # Reading.

    def wake(self) -> None:
        """There may be something to read."""
        self._lag = None
        if self._positions and not self._asked:
            self._asked = True
            self._loop.call_soon(self._read)

    def _assign(self) -> None:
        self._begin_epoch()
        self.group = self._topics.join(self._name)
        mine = [TopicPartition(*place) for place in self._places]
        starts = self._step.on_assigned(cast(Any, self), mine)
        self._positions = {(at.topic, at.partition): max(0, at.offset) for at in starts}
        self.ready = True
        self.wake()

    async def _revoke(self, *, lost: bool) -> None:
        self._positions, self._lag = {}, None
        if self.ready:
            self.ready = False
            await self._step.leave(lost)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.epoch += 1
        self._in_flight = 0
        self._held = frozenset()
        self._waits = {}

    def _read(self) -> None:
        self._asked = False
        while self._positions and self._in_flight < self._max_in_flight:
            messages = self._fetch()
            if not messages:
                break
            self._in_flight += len(messages)
            batch = MicroBatch(cast("list[Message]", messages), self.epoch, self.group)
            self._slow_down(messages)
            self._step.on_batch(batch)

    def _fetch(self) -> list[StoredMessage]:
        messages: list[StoredMessage] = []
        places, batch, shuffle = self._readable(), self._topics.batch, self._topics.shuffle
        while places and len(messages) < batch:
            place = places.pop(shuffle.randrange(len(places)) if shuffle else 0)
            limit = batch - len(messages)
            if found := self._topics.read(place, self._positions[place], limit):
                self._positions[place] = found[-1].offset() + 1
                self._lag = None
                messages += found
        return messages

    def _readable(self) -> list[Partition]:
        now = self._topics.clock()
        self._waits = {
            place: until
            for place, until in self._waits.items()
            if until > now and not self._is_early(place)
        }
        if self._waits:
            self._set_alarm(min(self._waits.values()) - now)
        shut = self._waits.keys() | self._held
        return [p for p in self._positions if p not in shut and not self._topics.stalled(p[0])]

    def _slow_down(self, messages: list[StoredMessage]) -> None:
        """Pause the partitions whose next records can wait: what was read last tells."""
        now = self._topics.clock()
        last = {partition_of(message): message for message in messages}
        for place, message in last.items():
            if (until := self._resume_at(cast(Message, message))) > now:
                self._waits[place] = until

    def _is_early(self, place: Partition) -> bool:
        """Whether it is to be read on, although nothing is due."""
        return self._positions[place] < self._through.get(place, 0)

    def _set_alarm(self, delay: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_later(max(delay, 0.001), self.wake)
