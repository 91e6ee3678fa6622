"""From Kafka's messages to events, and which partitions one worker may read together."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from confluent_kafka import Message, TopicPartition

from trunkline.errors import DataError
from trunkline.event import Event

log = logging.getLogger(__name__)

Decode = Callable[[bytes], Any]


def as_event(message: Message, decode: Decode) -> Event[Any]:
    """The event of a message. Raises DataError for a key that is not UTF-8."""
    try:
        return as_raw_event(message, decode, errors="strict")
    except UnicodeDecodeError as error:
        raise DataError(f"the key is not UTF-8: {error}") from error


def as_raw_event(message: Message, decode: Decode, errors: str = "replace") -> Event[Any]:
    """The event of a message whatever its key is: bytes that are not UTF-8 show as U+FFFD."""
    return Event(
        key=(message.key() or b"").decode(errors=errors),
        value=message.value(),
        headers=message.headers() or [],  # type: ignore[arg-type]
        decode=decode,
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
    )


def assigned_together(partitions: list[TopicPartition], topics: int) -> list[TopicPartition]:
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
