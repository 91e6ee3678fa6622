"""Causes: letters that died of the same have the same, whatever values they name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trunkline import Rejected
from trunkline.kafka.messages import StoredMessage
from trunkline.streams.dlq.causes import fingerprint
from trunkline.streams.dlq.envelope import DEAD_LETTER_HEADERS, dead_letter
from trunkline.streams.dlq.letters import DeadLetter

KEYS = ["adgjmp", "EU-BX", "Ada Lovelace", "7"]


def letter(error: Exception, headers: list[tuple[str, bytes]] | None = None) -> DeadLetter:
    _, key, value, made = dead_letter(
        "dlq",
        key=b"k",
        value=b"v",
        headers=headers or [],
        came_from="orders/0/7",
        stage="deliver",
        error=error,
    )
    return DeadLetter.of(StoredMessage("dlq", 0, 0, key, value, made))


def test_stage_class_and_cause_tell_causes_apart() -> None:
    ids = {
        fingerprint("route", "KeyError", "no"),
        fingerprint("deliver", "KeyError", "no"),
        fingerprint("route", "Rejected", "no"),
        fingerprint("route", "KeyError", "yes"),
    }
    assert len(ids) == 4


def test_the_id_of_a_cause_is_the_same_everywhere() -> None:
    assert fingerprint("deliver", "Rejected", "customer <n> is unknown") == "98d484f6"
    assert letter(Rejected("customer 1 is unknown")).cause == "98d484f6"


def test_an_error_tells_its_cause_apart_from_its_values() -> None:
    errors = [Rejected(f"PUT /{key} answered 422", cause="PUT /{key} answered 422") for key in KEYS]
    assert len({letter(error).cause for error in errors}) == 1
    assert letter(errors[0]).common_message == "PUT /{key} answered 422"
    assert letter(errors[0]).message == "PUT /adgjmp answered 422"
    assert letter(errors[0]).cause != letter(Rejected("x", cause="PUT /{key} answered 400")).cause


@pytest.mark.parametrize(
    ("said", "keys", "common"),
    [
        ("order {} has no lines", ["A-17/b", "EU-BX", "Ada Lovelace"], "order {key} has no lines"),
        ("{0} ({0})", ["Ü-ö", "b.c"], "{key} ({key})"),
        ("part {} is unknown", ["screw", "screwdriver"], "part {key} is unknown"),
        ("no {} in it", ["it", "no"], None),
    ],
)
def test_an_events_own_key_is_no_cause(said: str, keys: list[str], common: str | None) -> None:
    """Of an error that does not tell its cause, as a route's. Whatever the key looks like; but one
    of two characters may be any word."""
    letters = [replace(letter(ValueError(said.format(key))), key=key.encode()) for key in keys]
    told = {one.common_message for one in letters}
    assert told == ({common} if common else {"no it in it", "no no in it"})


def test_the_parts_of_a_key_and_the_id_are_no_cause_either() -> None:
    said = "order A-17, line b7x of ord-x7: none"
    one = letter(ValueError(said), [("ce_id", b"ord-x7")])
    one = replace(one, key=b'["A-17", "b7x"]')
    assert one.common_message == "order {key}, line {key} of {key}: none"


def test_a_cause_is_bounded() -> None:
    assert len(letter(Rejected("x", cause="ä" * 5000)).common_message) == 300


@pytest.mark.parametrize("error", [Rejected("no"), ValueError("no")])
def test_a_cause_that_the_record_had_is_not_the_letters(error: Exception) -> None:
    assert letter(error, [("tl_cause", b"forged")]).common_message == "no"


def test_what_is_sent_again_goes_without_the_cause() -> None:
    assert "tl_cause" in DEAD_LETTER_HEADERS
