"""A death of a halted event: the worker that delivers and the one that re-drives name it alike."""

from __future__ import annotations

from typing import Any

from letters_kit import letter
from trunkline.event import Event
from trunkline.streams.control.records import HaltKey
from trunkline.streams.dlq.halted import HaltedEvent, halted_event_of

HEADERS = [("tl_seq", b"40"), ("tl_attempt", b"3")]


def test_an_event_and_its_letter_name_the_same_death() -> None:
    event: Event[Any] = Event(key="k1", value=b"", headers=HEADERS, decode=bytes)
    dead = letter(partition=7, headers=HEADERS)
    assert halted_event_of(event, 2) == halted_event_of(dead, 2) == HaltedEvent(2, "40", "3")


def test_each_death_of_an_event_is_another() -> None:
    """So what was decided about the first one does not stand for the second."""
    again = [("tl_seq", b"40"), ("tl_attempt", b"4")]
    first, second = (halted_event_of(letter(headers=h), 2) for h in (HEADERS, again))
    assert HaltKey("erp", *first).text != HaltKey("erp", *second).text
