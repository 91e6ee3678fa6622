"""Dead letters: everything as it was, and where, why and when beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trunkline import Rejected
from trunkline.kafka import ProducerRecord
from trunkline.streams.dlq.envelope import DEAD_LETTER_HEADERS, dead_letter


def letter(error: BaseException, **changes: Any) -> ProducerRecord:
    given: dict[str, Any] = {
        "key": b"\xff",
        "value": b"\x00\x01",
        "headers": [("ce_id", b"1")],
        "came_from": "orders/0/7",
        "stage": "route",
    }
    return dead_letter("dlq", **{**given, **changes}, error=error)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - handed back
        return caught


def test_key_value_and_headers_are_as_they_were() -> None:
    topic, key, value, headers = letter(Rejected("no"))
    assert (topic, key, value) == ("dlq", b"\xff", b"\x00\x01")
    assert ("ce_id", b"1") in headers


def test_no_key_and_no_value_stay_none() -> None:
    assert letter(Rejected("no"), key=None, value=None)[1:3] == (None, None)


def test_any_bytes_stay_what_they_are() -> None:
    every = bytes(range(256))
    headers = [("mine", every), ("mine", b"twice"), ("empty", b"")]
    _, key, value, kept = letter(Rejected("no"), key=every, value=every, headers=headers)
    assert (key, value, kept[:3]) == (every, every, headers)


def test_it_says_where_why_and_when() -> None:
    headers = dict(letter(Rejected("no such customer"), flow_version="7", attempts=3, at=0.25)[3])
    assert headers["tl_dead_from"] == b"orders/0/7"
    assert headers["tl_stage"] == b"route"
    assert headers["tl_error_class"] == b"Rejected"
    assert headers["tl_error"] == b"no such customer"
    assert headers["tl_attempt"] == b"3"
    assert headers["tl_flow_version"] == b"7"
    assert headers["tl_dead_at"] == b"1970-01-01T00:00:00.250+00:00"
    assert headers["tl_first_failed_at"] == headers["tl_dead_at"]


def test_it_dies_now_if_nobody_says_when() -> None:
    when = datetime.fromisoformat(dict(letter(Rejected("no"))[3])["tl_dead_at"].decode())
    assert abs((datetime.now(UTC) - when).total_seconds()) < 60


def test_what_the_record_knows_of_itself_is_kept() -> None:
    known = [
        ("tl_from", b"commerce.orders/1/7/1"),
        ("tl_first_failed_at", b"2026-01-01T00:00:00.000+00:00"),
        ("tl_attempt", b"2"),
    ]
    headers = letter(Rejected("no"), headers=known)[3]
    assert set(known) <= set(headers)


def test_it_counts_no_attempt_of_what_was_never_sent() -> None:
    assert dict(letter(Rejected("no"))[3])["tl_attempt"] == b"0"


def test_a_traceback_is_the_whole_chain_of_causes() -> None:
    try:
        raise Rejected("no") from raised(KeyError("status"))
    except Rejected as error:
        text = dict(letter(error)[3])["tl_traceback"].decode()
    assert text.startswith("Traceback")
    assert "KeyError: 'status'\n\nThe above exception was the direct cause" in text
    assert text.endswith("trunkline.errors.Rejected: no\n")


def test_a_second_death_replaces_the_headers_of_the_first() -> None:
    first = letter(Rejected("one"))
    names = [name for name, _ in letter(Rejected("two"), headers=first[3])[3]]
    assert len(names) == len(set(names))


def test_the_headers_of_death_are_named() -> None:
    kept = {"ce_id", "tl_attempt", "tl_first_failed_at"}
    of_some = {"tl_violations", "tl_personal"}
    found = {name for name, _ in letter(Rejected("no", cause="no"))[3]}
    assert found == (DEAD_LETTER_HEADERS - of_some) | kept


def test_long_reasons_are_cut_to_their_end() -> None:
    headers = dict(letter(Rejected("x" * 100_000 + "because"))[3])
    assert len(headers["tl_error"]) <= 8000
    assert headers["tl_error"].endswith(b"xbecause")


def test_a_cut_leaves_no_half_of_a_character() -> None:
    error = dict(letter(Rejected("ö" * 4000 + "x"))[3])["tl_error"]
    assert error.decode() == "ö" * 3999 + "x"


def test_a_reason_that_is_no_unicode_is_written_all_the_same() -> None:
    assert dict(letter(Rejected("caf\udce9"))[3])["tl_error"] == b"caf?"
