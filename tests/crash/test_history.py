"""The account itself: each fault that it is to find is found, and what is explained is none."""

from __future__ import annotations

from typing import Any, cast

import pytest
from chaos import Strike
from confluent_kafka import Message
from faulty_server import Request
from history import Account

from trunkline.kafka.messages import StoredMessage

KILL = Strike("kill", 50.0, 50.0, worker=7)
FREEZE = Strike("freeze", 50.0, 70.0, worker=7)


def letter(id: str, why: str, attempts: int) -> StoredMessage:
    """A dead letter of the event ``id``."""
    named = {"ce_id": id, "tl_error_class": why, "tl_attempt": str(attempts)}
    headers = [(name, text.encode()) for name, text in named.items()]
    return StoredMessage("f.erp.dlq", 0, 0, b"k", b"{}", headers)


def asked(number: int, at: float, does: str = "204", **more: Any) -> Request:
    """A request for the event ``id <number>``, which is applied if it was answered 204."""
    known: dict[str, Any] = {"sent": at, "worker": 7, "attempt": 0, "applied": does == "204"}
    return Request(at=at, key="k", number=number, id=f"id{number}", does=does, **known | more)


def faults(*requests: Request, letters: tuple[StoredMessage, ...] = (), **more: Any) -> list[str]:
    """The first line of each fault, where events 0, 1, 2 were to arrive."""
    known: dict[str, Any] = {"lost": set(), "open": set(), "strikes": [], "fates": {}}
    events = {f"id{number}": ("k", number) for number in range(3)}
    dead = cast("list[Message]", list(letters))
    account = Account(events, requests, letters=dead, **known | more)
    return [fault.splitlines()[0] for fault in account.faults()]


ALL = [asked(0, 1), asked(1, 2), asked(2, 3)]


def test_what_arrives_once_and_in_order_is_sound() -> None:
    assert faults(*ALL) == []


def test_what_is_missing_or_still_open_is_told() -> None:
    assert faults(*ALL[:2]) == ["k: 2 is lost"]
    assert faults(*ALL, open={"id2"}) == ["k: 2 is not completed"]


@pytest.mark.parametrize("numbers", [(0, 2, 1), (1, 0, 2), (0, 1, 2, 0)])
def test_what_is_out_of_order_is_told(numbers: tuple[int, ...]) -> None:
    requests = [asked(number, at + 48) for at, number in enumerate(numbers)]
    (fault,) = faults(*requests, strikes=[KILL])
    assert "out of order" in fault


def test_a_request_that_was_frozen_on_its_way_is_no_disorder() -> None:
    stale = asked(0, 71, sent=49)
    assert faults(*ALL, stale, strikes=[FREEZE]) == []
    (fault,) = faults(*ALL, asked(0, 71, sent=70.9), strikes=[FREEZE])[:1]
    assert "out of order" in fault


@pytest.mark.parametrize(
    ("before", "again", "strike"),
    [
        (asked(2, 49), asked(2, 60, worker=8), KILL),
        (asked(2, 49), asked(2, 60, worker=8), FREEZE),
        (asked(2, 60, worker=8), asked(2, 66), FREEZE),
        (asked(2, 49, "late", applied=True), asked(2, 51), None),
        (asked(2, 49, "half", applied=True), asked(2, 51), None),
    ],
)
def test_a_repeat_is_explained(before: Request, again: Request, strike: Strike | None) -> None:
    assert faults(*ALL[:2], before, again, strikes=[strike] if strike else []) == []


@pytest.mark.parametrize(
    ("before", "again"),
    [
        (asked(2, 49), asked(2, 49.5)),  # before it was struck
        (asked(2, 49, worker=8), asked(2, 60)),  # by a worker that was not
        (asked(2, 71), asked(2, 72)),  # afterwards
    ],
)
def test_a_repeat_that_nothing_explains_is_told(before: Request, again: Request) -> None:
    (fault,) = faults(*ALL[:2], before, again, strikes=[KILL])
    assert "came again" in fault


def test_an_attempt_that_no_answer_used_up_is_told() -> None:
    assert faults(*ALL[:2], asked(2, 3, "500"), asked(2, 4, attempt=1)) == []
    (fault,) = faults(*ALL[:2], asked(2, 3, "503"), asked(2, 4, attempt=1))
    assert fault == "k: 2 counts 1 attempts, and 0 answers do"


EXHAUSTED = [asked(2, at, "500", attempt=at - 3) for at in range(3, 7)]


def test_a_dead_letter_has_its_reason() -> None:
    assert faults(*ALL[:2], *EXHAUSTED, letters=(letter("id2", "Retryable", 4),)) == []
    poison = asked(2, 3, "400")
    right = {"letters": (letter("id2", "Rejected", 1),), "fates": {("k", 2): "400"}}
    assert faults(*ALL[:2], poison, **cast(Any, right)) == []


@pytest.mark.parametrize("does", ["502", "hang", "reset"])
def test_an_event_that_the_api_cannot_bear_uses_up_its_attempts(does: str) -> None:
    """To its client it looks like an outage, while others are answered."""
    poison = [asked(2, at, does, attempt=max(0, at - 6)) for at in range(3, 10)]
    known: dict[str, Any] = {"letters": (letter("id2", "Unavailable", 4),)}
    assert faults(*ALL[:2], *poison, fates={("k", 2): does}, **known) == []
    (fault, *_) = faults(*ALL[:2], *poison, **known)
    assert "2 is dead by Unavailable, and should be by Retryable" in fault
    assert faults(*ALL[:2], *poison, fates={("k", 2): does}) == ["k: 2 is lost"]


def test_an_event_that_the_api_cannot_bear_may_die_of_what_all_others_are_answered() -> None:
    poison = [asked(2, at, "502", attempt=max(0, at - 6)) for at in range(3, 9)]
    busy: dict[str, Any] = {"fates": {("k", 2): "502"}, "letters": (letter("id2", "Retryable", 4),)}
    assert faults(*ALL[:2], *poison, asked(2, 9, "429", attempt=3), **busy) == []
    (fault,) = faults(*ALL[:2], *poison, asked(2, 9, "502", attempt=3), **busy)
    assert fault == "k: 2 is dead by Retryable, and should be by Unavailable"


@pytest.mark.parametrize(
    ("letters", "fault"),
    [
        ((letter("id2", "Rejected", 4),), "2 is dead by Rejected, and should be by Retryable"),
        ((letter("id2", "Retryable", 3),), "2 is dead after 3 attempts"),
        ((letter("id2", "Retryable", 4),) * 2, "2 has 2 dead letters"),
    ],
)
def test_a_dead_letter_that_is_wrong_is_told(
    letters: tuple[StoredMessage, ...], fault: str
) -> None:
    assert f"k: {fault}" in faults(*ALL[:2], *EXHAUSTED, letters=letters)


def test_what_an_outage_made_dead_is_told() -> None:
    down = [asked(2, at, "503") for at in range(3, 7)]
    found = faults(*ALL[:2], *down, letters=(letter("id2", "Retryable", 4),))
    assert found == ["k: 2: 4 attempts, 0 answers count"]


def test_what_halts_holds_up_its_key_until_it_is_discarded() -> None:
    letters = tuple(letter("id1", "Rejected", attempts) for attempts in (1, 2))
    halted: dict[str, Any] = {"letters": letters, "halts": True, "fates": {("k", 1): "400"}}
    died, again = asked(1, 2, "400"), asked(1, 2.5, "400", attempt=1)
    assert faults(ALL[0], died, again, ALL[2], **halted) == []
    assert faults(ALL[0], died, asked(2, 2.2), again, **halted) == ["k: 2 passed 1, which halts"]
    (fault,) = faults(ALL[0], died, again, ALL[2], open={"id2"}, **halted)
    assert fault == "k: 2 is not completed"
    twice = {**halted, "letters": (letters[0], *letters)}
    assert "k: 1 has 3 dead letters" in faults(ALL[0], died, again, ALL[2], **twice)
