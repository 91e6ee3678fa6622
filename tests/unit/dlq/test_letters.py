"""Dead letters as a person sees them, and which of them are selected and handled."""

from __future__ import annotations

from typing import Any

import pytest

from letters_kit import DIED, letter
from trunkline import ConfigurationError
from trunkline.streams.dlq.handled import Handled, HandledLetters, OffsetSet
from trunkline.streams.dlq.letters import DeadLetterFilter
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
def test_what_fits_everything_is_selected(given: dict[str, Any]) -> None:
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
    request = {"kind": "redrive", "limit": None, **chosen.to_record()}
    assert DeadLetterFilter.from_record(request) == chosen
    assert DeadLetterFilter.from_record({"kind": "redrive"}) == DeadLetterFilter()


def test_no_time_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="'yesterday' is no time"):
        DeadLetterFilter(since="yesterday")
    assert parse_moment(None) is None


def test_a_letter_is_handled_where_its_origin_says_so() -> None:
    state = {
        "dlq/erp/orders/2": Handled({2: OffsetSet([(0, 18)])}).to_record(),
        "dlq/erp/orders/1": Handled({2: OffsetSet([(0, 99)])}).to_record(),
        "dlq/crm/orders/2": Handled({2: OffsetSet([(0, 99)])}).to_record(),
        "destination/erp": {"state": "paused"},
    }
    handled = HandledLetters(state, "erp")
    assert handled.has(letter())
    assert not handled.has(letter(offset=18))
    assert not handled.has(letter(partition=1))
