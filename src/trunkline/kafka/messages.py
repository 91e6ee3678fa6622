"""From Kafka's messages to events, and which partitions one worker may read together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Message

from trunkline.errors import DataError
from trunkline.event import Event
from trunkline.kafka.offsets import Partition
from trunkline.schemas.codec import Decode


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


@dataclass(slots=True)
class StoredMessage:
    """A canonical event that comes from elsewhere than its topic, as a router takes it: its
    place, key, value and headers are what they were."""

    place: Partition
    at: int
    raw_key: bytes | None
    raw_value: bytes | None
    kept: list[tuple[str, bytes]] = field(default_factory=list)

    def topic(self) -> str:
        """The canonical topic."""
        return self.place[0]

    def partition(self) -> int:
        """Its partition."""
        return self.place[1]

    def offset(self) -> int:
        """Its offset there."""
        return self.at

    def key(self) -> bytes | None:
        """The raw key."""
        return self.raw_key

    def value(self) -> bytes | None:
        """The raw value."""
        return self.raw_value

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers, without those of dead letters."""
        return self.kept
