"""Recovery: what a worker restores of a destination's partitions when they are assigned to it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from trunkline.headers import TL_HALTED
from trunkline.kafka.messages import event_of
from trunkline.kafka.offsets import Partition, committed_offsets
from trunkline.streams.deliver.offsets import PartitionOffsets
from trunkline.streams.retry.halted_keys import HaltedKey
from trunkline.streams.retry.tiers import due_of

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds that Kafka has for each answer."""


class AssignmentRecovery:
    """How far the group is in each partition of the inbox and its tiers, and what waits.

    Asks Kafka, and so runs in the reader's thread. Raises KafkaException, KafkaUnavailable.
    """

    def __init__(self, consumer: Consumer, partitions: list[TopicPartition], inbox: str) -> None:
        self._consumer = consumer
        self._inbox = inbox
        self._latest: dict[int, int] = {}  # the highest sequence number that waits, a partition
        self.commits = committed_offsets(consumer, partitions, timeout=TIMEOUT)
        self.progress = offsets_from_commits(self.commits)
        self.halted: list[HaltedKey] = []
        """Of what waits, the events that halt their keys; known once ``waiting`` is read."""

    def waiting(
        self,
        rest: Callable[[list[TopicPartition]], Iterable[Message]],
        decode: Callable[[bytes], Any],
    ) -> Iterator[tuple[str, int, float]]:
        """Key, sequence number and due time of all that waits in tiers. ``rest``: reads what is
        in these partitions from these offsets on."""
        for message in rest([at for at in self.commits if at.topic != self._inbox]):
            partition: Any = message.topic(), message.partition()
            at: Any = message.offset()
            if not self.progress[partition].is_done(at):
                event = event_of(message, decode)
                sequence = event.sequence
                latest = self._latest.get(event.partition, -1)
                self._latest[event.partition] = max(latest, sequence)
                if event.header(TL_HALTED):
                    self.halted.append(HaltedKey.of(event))
                yield event.key, sequence, due_of(event)

    def unread(self) -> dict[int, range]:
        """Which offsets the inbox has, of the partitions where some that waits comes from beyond
        the commit. To be asked when ``waiting`` is read: what was deleted meanwhile, by retention
        or with the topic, is never read, and nobody may wait for it."""
        found = {}
        for partition, latest in self._latest.items():
            if self.progress[self._inbox, partition].end <= latest:
                at = TopicPartition(self._inbox, partition)
                found[partition] = range(*self._consumer.get_watermark_offsets(at, TIMEOUT))
        return found


def offsets_from_commits(commits: Iterable[TopicPartition]) -> dict[Partition, PartitionOffsets]:
    """The progress of each partition as its group has committed it."""
    return {
        (at.topic, at.partition): PartitionOffsets(at.offset, at.metadata or "") for at in commits
    }


def copartitioned(partitions: list[TopicPartition], topics: int) -> list[TopicPartition]:
    """The partitions of those numbers that we have of all ``topics``.

    The rest belongs together with what another worker has, and nobody can keep its order now:
    that happens while workers of two versions of a flow, with other tiers, run side by side. It
    is read after the next rebalance, when the old ones are gone.
    """
    count = Counter(at.partition for at in partitions)
    together = [at for at in partitions if count[at.partition] == topics]
    if len(together) < len(partitions):
        log.warning("partitions wait for workers of another version of the flow to end")
    return together
