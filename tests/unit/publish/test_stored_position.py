"""A source's position in its compacted topic, with and without parts; the topic is a list."""

from __future__ import annotations

from typing import Any, cast

import orjson
import pytest
from confluent_kafka import Message

from trunkline.streams.publish.stored_position import StoredPosition


class Stored:
    """A record of the topic, as Kafka gives it."""

    def __init__(self, key: bytes, value: bytes | None) -> None:
        self._key, self._value = key, value

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes | None:
        return self._value


class Topic:
    """The positions topic of the source ``db``; each ``position`` is a worker that starts."""

    def __init__(self) -> None:
        self.records: list[Stored] = []
        self.read_whole = 0

    def position(self) -> StoredPosition:
        newest = lambda: cast(Message, self.records[-1]) if self.records else None  # noqa: E731
        return StoredPosition("db", "shop.db.positions", newest=newest, every=self.every)

    def every(self) -> list[Message]:
        self.read_whole += 1
        return cast(list[Message], self.records)

    def write(
        self, stored: StoredPosition, position: Any, left_out: dict[str, int] | None = None
    ) -> list[str]:
        """The keys that were written."""
        made = stored.records(position, left_out)
        assert {record.topic for record in made} == {"shop.db.positions"}
        self.records += [Stored(record.key or b"", record.value) for record in made]
        return [(record.key or b"").decode() for record in made]

    def compact(self) -> None:
        newest = {record.key(): record for record in self.records}
        self.records = [record for record in self.records if newest[record.key()] is record]


def loaded(topic: Topic) -> Any:
    return topic.position().load()


def test_a_position_without_parts_is_one_record_and_reads_one() -> None:
    topic = Topic()
    assert loaded(topic) is None
    assert topic.write(topic.position(), {"lsn": "0/1"}) == ["db"]
    assert loaded(topic) == {"lsn": "0/1"}
    assert topic.read_whole == 0


def test_only_parts_that_changed_are_written_and_the_position_last() -> None:
    topic = Topic()
    stored = topic.position()
    assert stored.load() is None
    assert topic.write(stored, {"n": 1, "parts": {"a": "x", "b": "y"}}) == ["db/a", "db/b", "db"]
    assert topic.write(stored, {"n": 2, "parts": {"a": "x", "b": "z"}}) == ["db/b", "db"]
    assert loaded(topic) == {"n": 2, "parts": {"a": "x", "b": "z"}}
    again = topic.position()
    assert again.load() == {"n": 2, "parts": {"a": "x", "b": "z"}}
    assert topic.write(again, {"n": 3, "parts": {"a": "x", "b": "z"}}) == ["db"]


def test_a_part_that_is_gone_is_deleted() -> None:
    topic = Topic()
    stored = topic.position()
    topic.write(stored, {"parts": {"a": 1, "b": 2}})
    assert topic.write(stored, {"parts": {"b": 2}}) == ["db/a", "db"]
    topic.compact()
    assert loaded(topic) == {"parts": {"b": 2}}


def test_after_a_reset_the_old_parts_are_forgotten() -> None:
    topic = Topic()
    topic.write(topic.position(), {"parts": {"a": 1, "b": 2}})
    topic.records.append(Stored(b"db", None))
    stored = topic.position()
    assert stored.load() is None
    assert topic.write(stored, {"parts": {"a": 1}}) == ["db/a", "db"]
    assert loaded(topic) == {"parts": {"a": 1}}, "b is of the run before"


def test_a_transaction_that_failed_leaves_nothing_believed() -> None:
    topic = Topic()
    stored = topic.position()
    stored.load()
    stored.records({"parts": {"a": 1}})  # never committed
    assert stored.load() is None
    assert topic.write(stored, {"parts": {"a": 1}}) == ["db/a", "db"]


@pytest.mark.parametrize("parts", [{}, {"parts": {"a": 1}}])
def test_what_was_left_out_adds_up_beside_the_position(parts: dict[str, Any]) -> None:
    topic = Topic()
    stored = topic.position()
    topic.write(stored, {"n": 1, **parts}, {"orders": 2})
    topic.write(stored, {"n": 2, **parts})
    again = topic.position()
    assert again.load() == {"n": 2, **parts}
    topic.write(again, {"n": 3, **parts}, {"orders": 1, "": 5})
    newest = orjson.loads(topic.records[-1].value() or b"")
    assert newest["left_out"] == {"orders": 3, "": 5}


def test_what_an_aborted_transaction_left_out_is_not_counted() -> None:
    topic = Topic()
    stored = topic.position()
    stored.load()
    topic.write(stored, {"n": 1}, {"orders": 2})
    stored.records({"n": 2}, {"orders": 40})  # Kafka did not take it
    stored.load()
    topic.write(stored, {"n": 2}, {"orders": 1})
    assert orjson.loads(topic.records[-1].value() or b"")["left_out"] == {"orders": 3}
