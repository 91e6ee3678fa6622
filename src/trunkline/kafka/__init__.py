"""Kafka."""

from trunkline.kafka.clients import (
    MAX_VALUE,
    TOPIC_MAX,
    KafkaUnavailable,
    admin,
    consumer,
    producer,
    settings,
    unique_id,
)
from trunkline.kafka.topics import TopicSpec, ensure_topics, existing_topics, matched
from trunkline.kafka.transactions import (
    OFFSETS_TIMEOUT,
    LastingProducer,
    Move,
    Out,
    aborting,
    finish,
    produce,
    produce_at,
    reusable,
    transact,
)

__all__ = [
    "MAX_VALUE",
    "OFFSETS_TIMEOUT",
    "TOPIC_MAX",
    "KafkaUnavailable",
    "LastingProducer",
    "Move",
    "Out",
    "TopicSpec",
    "aborting",
    "admin",
    "consumer",
    "ensure_topics",
    "existing_topics",
    "finish",
    "matched",
    "produce",
    "produce_at",
    "producer",
    "reusable",
    "settings",
    "transact",
    "unique_id",
]
