"""Dead letters: everything as it was, and where, why and when beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trunkline import Rejected
from trunkline.kafka import Out
from trunkline.streams.deadletter import dead_letter


def letter(error: BaseException, **changes: Any) -> Out:
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


def test_it_says_where_why_and_when() -> None:
    headers = dict(letter(Rejected("no such customer"))[3])
    assert headers["tl_from"] == b"orders/0/7"
    assert headers["tl_stage"] == b"route"
    assert headers["tl_error_class"] == b"Rejected"
    assert headers["tl_error"] == b"no such customer"
    when = datetime.fromisoformat(headers["tl_first_failed_at"].decode())
    assert abs((datetime.now(UTC) - when).total_seconds()) < 60


def test_a_traceback_is_only_of_what_nobody_foresaw() -> None:
    assert "tl_traceback" not in dict(letter(raised(Rejected("no")))[3])
    text = dict(letter(raised(KeyError("status")))[3])["tl_traceback"].decode()
    assert text.startswith("Traceback")
    assert text.endswith("KeyError: 'status'\n")


def test_a_second_death_replaces_the_headers_of_the_first() -> None:
    first = letter(Rejected("one"))
    names = [name for name, _ in letter(Rejected("two"), headers=first[3])[3]]
    assert len(names) == len(set(names))


def test_long_reasons_are_cut_to_their_end() -> None:
    headers = dict(letter(Rejected("x" * 100_000 + "because"))[3])
    assert len(headers["tl_error"]) <= 8000
    assert headers["tl_error"].endswith(b"xbecause")


def test_a_reason_that_is_no_unicode_is_written_all_the_same() -> None:
    assert dict(letter(Rejected("caf\udce9"))[3])["tl_error"] == b"caf?"
