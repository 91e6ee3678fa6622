"""What a cluster says of a topic: which one it is, how many partitions, and what becomes of its
records. For whoever keeps what it has read of a topic, and must know whether it is still the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

TIMEOUT = 10.0
"""Seconds that one answer may take."""

DEFAULT_DELETE_RETENTION = 86_400.0
"""Seconds that Kafka keeps tombstones if nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """``cluster``: the cluster's id; ``id``: the topic's, another one once it was made anew;
    ``config``: its settings, none where we may not see them."""

    cluster: str
    id: str
    partitions: int
    config: Mapping[str, str]

    @property
    def compacts(self) -> bool:
        """Whether the newest record of each key is kept for ever."""
        return "compact" in self.config.get("cleanup.policy", "")

    @property
    def keeps_all(self) -> bool:
        """Whether no record is ever deleted for its age or for the topic's size."""
        return "delete" not in self.config.get("cleanup.policy", "") or (
            self.config.get("retention.ms") == "-1" and self.config.get("retention.bytes") == "-1"
        )

    @property
    def delete_retention(self) -> float:
        """Seconds that a tombstone can be read at the least; without compaction, for ever."""
        if self.config and not self.compacts:
            return math.inf
        text = self.config.get("delete.retention.ms", "")
        return int(text) / 1000 if text.isdecimal() else DEFAULT_DELETE_RETENTION


def topic_facts(client: AdminClient, topic: str) -> TopicFacts:
    """Ask for them. Blocks. Raises KafkaException, also if there is no such topic."""
    cluster = client.describe_cluster(request_timeout=TIMEOUT)
    described = client.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT)[topic]
    config = _config(client, topic)
    found = _result(described)
    return TopicFacts(
        str(_result(cluster).cluster_id), str(found.topic_id), len(found.partitions), config
    )


def _config(client: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        (answer,) = client.describe_configs([resource], request_timeout=TIMEOUT).values()
        return {name: entry.value or "" for name, entry in _result(answer).items()}
    except KafkaException as failure:
        if failure.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise
        return {}


def _result(future: Future[Any]) -> Any:
    return cast(Any, future.result(TIMEOUT))
