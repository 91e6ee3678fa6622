"""Which letters of a source are old, as a newer event of their key was published since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from letters_kit import DIED, letter
from trunkline.admin import source_letters
from trunkline.admin.source_letters import _Newest, _redriven
from trunkline.kafka import ProducerRecord
from trunkline.streams.dlq.letters import DeadLetter


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


def event(id: bytes, key: bytes = b"k") -> ProducerRecord:
    return ProducerRecord("orders", key, b"", [("ce_id", id)])


def died(minutes: float) -> DeadLetter:
    return replace(letter(), written=DIED + timedelta(minutes=minutes))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Published]:
    there: list[Published] = []

    def read(*_: Any) -> Iterator[Published]:
        return iter(there)

    monkeypatch.setattr(source_letters, "_published", read)
    return there


def superseded(one: ProducerRecord, of: DeadLetter) -> bool:
    newest = _Newest(None, ["orders"], [of], [[one]])  # type: ignore[arg-type]
    return newest.supersedes(one, of.written)


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
