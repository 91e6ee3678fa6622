"""What a cluster's refusal of a record means to the engine."""

from __future__ import annotations

from confluent_kafka import KafkaError

from trunkline.connectors.kafka.cluster import KafkaCluster
from trunkline.errors import DeliveryError, Rejected, Unavailable
from trunkline.kafka import is_forbidden

_OF_THE_RECORD = {
    KafkaError.MSG_SIZE_TOO_LARGE: "it is larger than the topic takes (max.message.bytes)",
    KafkaError.RECORD_LIST_TOO_LARGE: "it is larger than the topic takes (max.message.bytes)",
    KafkaError.INVALID_MSG: "the broker says that it is no valid record of the topic",
    KafkaError.INVALID_RECORD: "the broker says that it is no valid record of the topic",
    KafkaError.INVALID_TIMESTAMP: "the topic does not take its time",
    KafkaError.POLICY_VIOLATION: "a policy of the cluster refuses it",
    KafkaError._INVALID_ARG: "it cannot be a record: is the topic's name right?",
    KafkaError.TOPIC_EXCEPTION: "the topic's name is none",
}
"""What no other record would be refused for, and this one always. All else is the cluster's."""


def delivery_error(
    cluster: KafkaCluster, topic: str, error: KafkaError, hint: str = ""
) -> DeliveryError:
    """The instruction for an error of one record. ``hint``: what its connections say is wrong."""
    text = f"topic {topic!r} at {cluster.bootstrap}: {error.str()}"
    cause = f"topic {topic!r}: {error.name()}"
    if error.code() in _OF_THE_RECORD:
        return Rejected(f"{text}: {_OF_THE_RECORD[error.code()]}", cause=cause)
    if is_forbidden(error):
        return Unavailable(f"{text}: grant this account Write and Describe", cause=cause)
    told = f"{text}: {hint}" if hint else text
    return Unavailable(cluster.told(told), cause=cause)
