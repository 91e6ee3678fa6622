"""From Kafka's messages to events; and a message that comes from memory."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message

from trunkline.errors import DataError
from trunkline.event import Event, Headers
from trunkline.kafka.offsets import Partition
from trunkline.schemas.codec import Decode


class StoredMessage:
    """A record that is in memory already, with the methods of a ``confluent_kafka.Message`` that
    Trunkline uses.

    For a canonical event that is routed again from a dead letter, as if it were read from its
    topic; and for ``trunkline.testing``, where all topics are in memory. Not Kafka's own class:
    that one is not for making messages outside of tests, its documentation says.
    """

    __slots__ = ("_headers", "_key", "_offset", "_partition", "_timestamp", "_topic", "_value")

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        *,
        timestamp: int = 0,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._offset = offset
        self._key = key
        self._value = value
        self._headers = tuple(headers)
        self._timestamp = timestamp

    def topic(self) -> str:
        """Its topic."""
        return self._topic

    def partition(self) -> int:
        """Its partition."""
        return self._partition

    def offset(self) -> int:
        """Its offset in the partition."""
        return self._offset

    def key(self) -> bytes | None:
        """Its key."""
        return self._key

    def value(self) -> bytes | None:
        """Its value."""
        return self._value

    def headers(self) -> list[tuple[str, bytes]]:
        """Its headers; a new list, as from Kafka."""
        return list(self._headers)

    def timestamp(self) -> tuple[int, int]:
        """Kind and time of its writing, in milliseconds."""
        return 1, self._timestamp

    def error(self) -> None:
        """It is a record and no error."""


AnyMessage = Message | StoredMessage


def partition_of(message: AnyMessage) -> Partition:
    """The topic and partition of a record, or of a partition's end."""
    return message.topic(), message.partition()  # type: ignore[return-value]  # an error has none


def event_of(message: AnyMessage, decode: Decode, *, strict: bool = False) -> Event[Any]:
    """The event of a message. The bytes of a key that are not UTF-8 show as U+FFFD; where
    ``strict``, they raise DataError."""
    raw_key = message.key() or b""
    try:
        key = raw_key.decode()
    except UnicodeDecodeError as error:
        if strict:
            raise DataError(f"the key is not UTF-8: {error}") from error
        key = raw_key.decode(errors="replace")
    return Event(
        key,
        message.value(),
        message.headers() or [],  # type: ignore[arg-type]  # bytes, never None or str
        decode,
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
    )
