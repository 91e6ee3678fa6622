"""Whether each message that a test routes has an idempotency key of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.event import Event
from trunkline.headers import TL_FROM
from trunkline.kafka import ProducerRecord
from trunkline.naming import is_inbox


class IdempotencyKeys:
    """The messages that were routed, by their idempotency keys."""

    def __init__(self) -> None:
        self._seen: dict[str, Event[Any]] = {}

    def check(self, records: Iterable[ProducerRecord]) -> None:
        """Note what goes into inboxes. Raises AssertionError for a message that has the key of a
        different one: a system that honours the keys would take it for a repeat, and drop it."""
        for topic, key, value, headers in records:
            if not is_inbox(topic):
                continue
            event: Event[Any] = Event(
                key=(key or b"").decode(),
                value=value,
                headers=headers,
                decode=lambda value: value,
                topic=topic,
            )
            earlier = self._seen.setdefault(event.idempotency_key, event)
            if (earlier.key, earlier.value) != (event.key, event.value):
                raise AssertionError(_explained(earlier, event))


def _explained(earlier: Event[Any], event: Event[Any]) -> str:
    places = " and ".join(one.header(TL_FROM) for one in (earlier, event))
    return (
        f"two different messages to {event.topic} have one idempotency key: those of {places}, "
        f"since both events have the id {event.id!r} of {event.source}. An id must be the same "
        "when a change is read again, and another one for each other change: mend Record.id"
    )
