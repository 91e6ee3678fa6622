"""From messages to events: Kafka's own and those in memory alike."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Message

from trunkline.errors import DataError
from trunkline.kafka.messages import StoredMessage, event_of, partition_of

HEADERS = [("ce_id", b"e1"), ("ce_type", b"order.paid")]


def messages(key: bytes | None, value: bytes | None) -> list[Any]:
    """The same message as Kafka's client gives it, and from memory."""
    named = {"topic": "orders", "partition": 3, "offset": 7, "key": key, "value": value}
    kafkas = Message(**named, headers=HEADERS, timestamp=(1, 1500))  # type: ignore[arg-type]
    return [kafkas, StoredMessage("orders", 3, 7, key, value, HEADERS, timestamp=1500)]


@pytest.mark.parametrize("message", messages(b"k1", b"\x00v"))
def test_an_event_has_the_messages_place_key_value_and_headers(message: Any) -> None:
    event = event_of(message, lambda value: value[1:], strict=True)
    assert (event.topic, event.partition, event.offset) == ("orders", 3, 7)
    assert (event.key, event.value, event.data) == ("k1", b"\x00v", b"v")
    assert (event.id, event.type) == ("e1", "order.paid")
    assert partition_of(message) == ("orders", 3)
    assert message.timestamp() == (1, 1500)
    assert message.error() is None


@pytest.mark.parametrize("message", messages(None, None))
def test_a_message_may_have_neither_key_nor_value(message: Any) -> None:
    event = event_of(message, bytes, strict=True)
    assert (event.key, event.value) == ("", None)


@pytest.mark.parametrize("message", messages(b"\xffk", b"v"))
def test_a_key_that_is_no_text_is_shown_or_refused(message: Any) -> None:
    assert event_of(message, bytes).key == "\ufffdk"
    with pytest.raises(DataError, match="the key is not UTF-8"):
        event_of(message, bytes, strict=True)


def test_a_message_without_headers_makes_an_event_without_any() -> None:
    assert list(event_of(Message(topic="orders", key=b"k"), bytes).headers) == []


def test_what_is_done_to_a_messages_headers_leaves_the_message_as_it_is() -> None:
    stored = StoredMessage("orders", 3, 7, b"k", b"v", HEADERS)
    stored.headers().clear()
    assert stored.headers() == HEADERS
