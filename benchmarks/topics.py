"""Topics of a benchmark: made fresh, filled, watched from outside, counted exactly.

Output topics take the broker's own clock (LogAppendTime), so that no reader runs beside the system
that is measured, and no system's own timestamps are believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from benchmarks.errors import BenchmarkError

SETTLED_SECONDS = 1.0
LOOK_SECONDS = 0.2
NOT_LED_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
Message = tuple[str, bytes, list[tuple[str, bytes]]]


@dataclass(frozen=True)
class Output:
    """What a system wrote: the broker's time of each record (epoch, seconds), in order."""

    stamps: list[float]

    @property
    def count(self) -> int:
        return len(self.stamps)

    @property
    def first(self) -> float:
        return self.stamps[0]

    @property
    def last(self) -> float:
        return self.stamps[-1]

    @property
    def seconds(self) -> float:
        return self.seconds_between(0, 1)

    def after(self, count: int) -> Output:
        """Without the first so many records."""
        return Output(self.stamps[count:])

    def seconds_between(self, begin: float, end: float) -> float:
        """How long the records between two shares of all took, as 0.1 and 0.9."""
        last = self.count - 1
        return max(self.stamps[int(end * last)] - self.stamps[int(begin * last)], 0.001)


class Topics:
    """The topics of one broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._client = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin = AdminClient(self._client)

    def create(self, names: Iterable[str], partitions: int = 4) -> None:
        """Make topics that are stamped by the broker, instead of any of the same names."""
        wanted = list(names)
        self.remove(lambda name: name in wanted)
        config = {"message.timestamp.type": "LogAppendTime"}
        new = [NewTopic(name, partitions, 1, config=config) for name in wanted]
        for future in self._admin.create_topics(new).values():
            future.result()
        _until(lambda: self.ends(wanted) == 0, 30, f"{wanted} have no leaders")

    def remove(self, matching: Callable[[str], bool]) -> None:
        """Delete topics and wait until they are gone."""
        doomed = self._names(matching)
        if doomed:
            for future in self._admin.delete_topics(doomed).values():
                future.result()
        _until(lambda: not self._names(matching), 30, f"the topics {doomed} are still there")

    def remove_groups(self, matching: Callable[[str], bool]) -> None:
        """Delete consumer groups, so that the next run of a system begins at the beginning."""
        groups = self._admin.list_consumer_groups().result().valid
        for group in filter(matching, [g.group_id for g in groups]):
            _until(lambda g=group: self._remove_group(g), 60, f"group {group} still has members")

    def fill(self, topic: str, messages: Iterable[Message]) -> None:
        """Produce messages as a source would."""
        settings = {"linger.ms": 20, "compression.type": "lz4", "partitioner": "murmur2_random"}
        producer = Producer({**self._client, **settings, "acks": "all"})
        for key, value, headers in messages:
            while True:
                try:
                    producer.produce(topic, value, key, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.flush()

    def wait_for(
        self, names: Sequence[str], count: int, alive: Callable[[], None], seconds: float
    ) -> Output:
        """Wait until the topics hold so many committed records and stay so; read what they hold.

        ``alive`` raises if the system has ended. Raises BenchmarkError when it takes longer.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            alive()
            if self._settled(names, count):
                output = self.read(names)
                if output.count >= count:
                    return output
            time.sleep(LOOK_SECONDS)
        found = self.read(names).count
        raise BenchmarkError(f"{found:,} of {count:,} messages after {seconds:.0f} s")

    def read(self, names: Sequence[str]) -> Output:
        """Read the broker's times of all committed records."""
        return Output(sorted(self._stamps(names)))

    def ends(self, names: Sequence[str]) -> int | None:
        """The sum of the last stable offsets: records and transaction markers. None while the
        broker does not lead a new topic: it says so now and then, a moment after making it."""
        try:
            return self._ends(names)
        except KafkaException as failure:
            if failure.args[0].code() not in NOT_LED_YET:
                raise
            return None

    def _ends(self, names: Sequence[str]) -> int:
        partitions = [p for name in names for p in self._partitions(name)]
        latest = dict.fromkeys(partitions, OffsetSpec.latest())
        found = self._admin.list_offsets(latest, isolation_level=IsolationLevel.READ_COMMITTED)
        return sum(future.result().offset for future in found.values())

    def _settled(self, names: Sequence[str], count: int) -> bool:
        before = self.ends(names)
        if before is None or before < count:
            return False
        time.sleep(SETTLED_SECONDS)
        return self.ends(names) == before

    def _stamps(self, names: Sequence[str]) -> Iterable[float]:
        reader = self.reader(names)
        unfinished = sum(len(self._partitions(name)) for name in names)
        try:
            while unfinished:
                for message in reader.consume(10_000, timeout=1.0):
                    if message.error() is None:
                        yield message.timestamp()[1] / 1000
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        unfinished -= 1
                    else:
                        raise KafkaException(message.error())
        finally:
            reader.close()

    def reader(self, names: Sequence[str], *, at_end: bool = False) -> Consumer:
        """A consumer of committed records, assigned to all partitions from their beginning, or
        from where they end now."""
        settings = {
            **self._client,
            "group.id": "benchmark-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
        consumer = Consumer(settings)
        begin = [p for name in names for p in self._partitions(name)]
        for partition in begin:
            low, high = consumer.get_watermark_offsets(partition, timeout=10)
            partition.offset = high if at_end else low
        consumer.assign(begin)
        return consumer

    def _partitions(self, name: str) -> list[TopicPartition]:
        topic = self._admin.list_topics(name, timeout=10).topics[name]
        return [TopicPartition(name, number) for number in topic.partitions]

    def _names(self, matching: Callable[[str], bool]) -> list[str]:
        return [name for name in self._admin.list_topics(timeout=10).topics if matching(name)]

    def _remove_group(self, group: str) -> bool:
        try:
            self._admin.delete_consumer_groups([group])[group].result()
        except KafkaException as failure:
            code = failure.args[0].code()
            if code == KafkaError.NON_EMPTY_GROUP:  # its members' session has yet to expire
                return False
            if code != KafkaError.GROUP_ID_NOT_FOUND:
                raise
        return True


def _until(done: Callable[[], bool], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{complaint} after {seconds:.0f} s")
        time.sleep(LOOK_SECONDS)
