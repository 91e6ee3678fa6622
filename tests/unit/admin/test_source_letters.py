"""Which letters of a source are old, as a newer event of their key was published since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from letters_kit import DIED, letter
from trunkline.admin import source_letters
from trunkline.admin.source_letters import SourceRedrive, _Newest, _redriven
from trunkline.event import Record
from trunkline.kafka import ProducerRecord
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.publish.publisher import Publisher, TopicMapping


class Published:
    """A record of a canonical topic."""

    def __init__(self, record: ProducerRecord, minutes: float) -> None:
        self.record = record
        self.at = DIED + timedelta(minutes=minutes)

    def topic(self) -> str:
        return self.record.topic

    def key(self) -> bytes | None:
        return self.record.key

    def timestamp(self) -> tuple[int, int]:
        return 1, int(self.at.timestamp() * 1000)

    def headers(self) -> list[tuple[str, bytes]]:
        return self.record.headers


def event(id: bytes, key: bytes = b"k", order: int = 0) -> ProducerRecord:
    return ProducerRecord("orders", key, b"", [("ce_id", id), *numbered(order)])


def died(minutes: float, order: int = 0) -> DeadLetter:
    one = letter()
    headers = [*one.headers, *numbered(order)]
    return replace(one, written=DIED + timedelta(minutes=minutes), headers=headers)


def numbered(order: int) -> list[tuple[str, bytes]]:
    return [("tl_order", str(order).encode())] if order else []


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Published]:
    there: list[Published] = []

    def read(*_: Any) -> Iterator[Published]:
        return iter(there)

    monkeypatch.setattr(source_letters, "_published", read)
    return there


def superseded(one: ProducerRecord, of: DeadLetter) -> bool:
    newest = _Newest(None, ["orders"], [of], [[one]])  # type: ignore[arg-type]
    return newest.supersedes(one, of)


def test_a_letter_is_old_once_a_newer_event_of_its_key_came_from_the_source(
    published: list[Published],
) -> None:
    published += [Published(event(b"other", b"x"), 9), Published(event(b"2"), 5)]
    assert superseded(event(b"1"), died(4))
    assert not superseded(event(b"3"), died(6))
    assert superseded(event(b"2"), died(6)), "it is published"


def test_an_older_letter_that_was_sent_meanwhile_makes_none_old(published: list[Published]) -> None:
    """The first command sends what died in minute 1; what died in minute 2 is left, or mended
    later, and is still the newest of its key."""
    published.append(Published(_redriven(event(b"1"), died(1)), 60))
    assert not superseded(event(b"2"), died(2))
    assert superseded(event(b"0"), died(0))
    assert superseded(event(b"1"), died(1)), "it is sent"


def test_within_a_millisecond_the_number_tells_which_came_first(published: list[Published]) -> None:
    published.append(Published(event(b"2", order=7), 5))
    assert superseded(event(b"1"), died(5, order=6))
    assert not superseded(event(b"3"), died(5, order=8))
    published[:] = [Published(event(b"2"), 5)]
    assert not superseded(event(b"1"), died(5, order=6)), "it came before: else it had a number"


def test_a_letter_that_was_sent_keeps_its_number(published: list[Published]) -> None:
    published.append(Published(_redriven(event(b"1", order=99), died(5, order=6)), 60))
    assert not superseded(event(b"2"), died(5, order=7))
    assert superseded(event(b"0"), died(5, order=5))
    published[:] = [Published(_redriven(event(b"1", order=99), died(5)), 60)]
    assert not superseded(event(b"2"), died(6, order=7)), "one of an earlier version has none"


def test_letters_of_one_millisecond_keep_their_order_over_partitions() -> None:
    class Queue:
        def letters(self, *_: Any, **__: Any) -> Iterator[DeadLetter]:
            return iter([replace(died(1, 2), partition=0), replace(died(1, 1), partition=1)])

    queue: Any = Queue()
    chosen = source_letters._chosen(queue, DeadLetterFilter(), None, False, SourceRedrive())
    assert [one.partition for one in chosen] == [1, 0]


def test_what_follows_a_letter_in_its_batch_or_the_next_one_is_numbered() -> None:
    def order_of(record: Record) -> dict[str, Any]:
        if record.key == "bad":
            raise ValueError("bad")
        return record.data

    topic = TopicMapping("orders", order_of, lambda data: b"{}")
    publisher = Publisher("/shop/db", "shop.db.dlq", [topic])
    numbers = [
        [int(dict(made.headers).get("tl_order", b"0")) for made in publisher.publish(batch).records]
        for batch in (
            [Record(key=key, data={}) for key in keys]
            for keys in (["a", "bad", "b", "bad"], ["c"], ["d"])
        )
    ]
    (first, *rest), (following,), (last,) = numbers
    assert first == last == 0
    assert 0 < rest[0] < rest[1] < rest[2] < following
