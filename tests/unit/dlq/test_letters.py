"""Dead letters as a person sees them, which of them are meant, and their causes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from letters_kit import DIED, letter
from trunkline import ConfigurationError
from trunkline.streams.dlq import queue as dlq
from trunkline.streams.dlq.handled import Handled, Offsets
from trunkline.streams.dlq.letters import DeadLetterFilter
from trunkline.streams.dlq.queue import HandledLetters, grouped
from trunkline.times import parse_moment


def test_a_letter_tells_what_its_headers_say() -> None:
    one = letter()
    assert (one.place, one.shown_key, one.event_id, one.type) == ("2/17", "k1", "1", "order.paid")
    assert (one.stage, one.error, one.message) == ("deliver", "Rejected", "no such customer")
    assert (one.attempts, one.came_from, one.time) == (4, "f.erp.inbox/2/9", DIED)


def test_a_record_that_no_worker_wrote_is_shown_all_the_same() -> None:
    one = letter(headers=[("tl_attempt", b"many"), ("tl_error", b"\xff")], key=None)
    assert (one.error, one.message, one.attempts, one.shown_key) == ("", "�", 0, "")
    assert one.time == one.written


def test_a_key_that_is_not_utf8_is_shown_in_hex() -> None:
    assert letter(key=b"\xff\x00").shown_key == "0xff00"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"key": "k1"},
        {"error": "Rejected"},
        {"message": "such"},
        {"header": {"ce_type": "order.paid", "ce_id": "1"}},
        {"since": "2026-11-22T14:30"},
        {"since": "2026-11-22T15:30+01:00", "until": "2026-11-22T14:30:01"},
        {"cause": letter().cause},
        {"cause": letter().cause[:4]},
    ],
)
def test_what_fits_everything_is_meant(given: dict[str, Any]) -> None:
    assert DeadLetterFilter(**given).matches(letter())


@pytest.mark.parametrize(
    "given",
    [
        {"key": "k"},
        {"error": "Reject"},
        {"message": "Such"},
        {"header": {"ce_type": "order.paid", "ce_id": "2"}},
        {"header": {"missing": "1"}},
        {"since": "2026-11-22T14:30:01"},
        {"until": "2026-11-22T14:30"},
        {"cause": "zzzz"},
        {"key": "k1", "error": "KeyError"},
    ],
)
def test_what_misses_one_thing_is_not(given: dict[str, Any]) -> None:
    assert not DeadLetterFilter(**given).matches(letter())


def test_a_request_carries_the_selection() -> None:
    chosen = DeadLetterFilter(
        key="k", since="2026-11-22T14:30", header={"ce_type": "a"}, cause="3f"
    )
    request = {"kind": "redrive", "limit": None, **chosen.to_request()}
    assert DeadLetterFilter.of_request(request) == chosen
    assert DeadLetterFilter.of_request({"kind": "redrive"}) == DeadLetterFilter()


def test_no_time_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="'yesterday' is no time"):
        DeadLetterFilter(since="yesterday")
    assert parse_moment(None) is None


def test_a_letter_is_handled_where_its_home_says_so() -> None:
    state = {
        "dlq/erp/orders/2": Handled({2: Offsets([(0, 18)])}).encode(),
        "dlq/erp/orders/1": Handled({2: Offsets([(0, 99)])}).encode(),
        "dlq/crm/orders/2": Handled({2: Offsets([(0, 99)])}).encode(),
        "destination/erp": {"state": "paused"},
    }
    handled = HandledLetters(state, "erp")
    assert handled.has(letter())
    assert not handled.has(letter(offset=18))
    assert not handled.has(letter(partition=1))


def test_letters_are_grouped_by_cause() -> None:
    letters = [
        letter("customer 7 is unknown", minutes=5),
        letter(KeyError("status")),
        letter("customer 8 is unknown", minutes=2),
        letter("customer 9 is unknown", minutes=9),
    ]
    first, second = grouped(letters)
    assert (first.count, first.message) == (3, "customer <n> is unknown")
    assert (first.first, first.last) == (DIED + timedelta(minutes=2), DIED + timedelta(minutes=9))
    assert first.example.message == "customer 7 is unknown"
    assert (second.count, second.error) == (1, "KeyError")


def test_messages_that_have_nothing_in_common_fill_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dlq, "MOST", 2)
    found = grouped(letter(word) for word in ("a", "b", "c", "d", "b"))
    counts = {cause.message: cause.count for cause in found}
    assert counts == {"a": 1, "b": 2, "": 2}
    assert all(cause.example.value is None for cause in found)
