"""Kafka as Trunkline uses it, on confluent-kafka: clients, topics, reading, transactions.

Nothing here knows flows. ``poll_loop`` reads a consumer group in a thread of its own and hands
micro-batches to the event loop; ``transactions`` writes, and survives a producer that is broken;
the readers beside a group (``reading``, ``tail``, ``range_reader``) block, and join no group. A
consumer is its thread's: whoever wants it to do something asks that thread. The names below are
the public ones: ``from trunkline import kafka``.
"""

from trunkline.kafka.clients import (
    MAX_VALUE,
    TOPIC_MAX,
    admin,
    consumer,
    producer,
    settings,
    transaction_timeout,
    unique_id,
)
from trunkline.kafka.reasons import (
    KafkaFatal,
    KafkaForbidden,
    KafkaRefused,
    KafkaUnavailable,
    is_forbidden,
    unavailable,
)
from trunkline.kafka.rights import Right
from trunkline.kafka.topics import (
    TopicSpec,
    configured,
    create_topics,
    ensure_topics,
    existing_topics,
    matched,
    require_visible,
)
from trunkline.kafka.transactions import (
    OFFSETS_TIMEOUT,
    LastingProducer,
    PartitionRecord,
    ProducerRecord,
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
    "KafkaFatal",
    "KafkaForbidden",
    "KafkaRefused",
    "KafkaUnavailable",
    "LastingProducer",
    "PartitionRecord",
    "ProducerRecord",
    "Right",
    "TopicSpec",
    "aborting",
    "admin",
    "configured",
    "consumer",
    "create_topics",
    "ensure_topics",
    "existing_topics",
    "finish",
    "is_forbidden",
    "matched",
    "produce",
    "produce_at",
    "producer",
    "require_visible",
    "reusable",
    "settings",
    "transact",
    "transaction_timeout",
    "unavailable",
    "unique_id",
]
