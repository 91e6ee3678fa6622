"""The one header of a trace: what its flag and its ids say, and that there is only one."""

from __future__ import annotations

import pytest

from trunkline.event import Record, event_headers
from trunkline.headers import TRACEPARENT
from trunkline.streams.tracing.context import (
    ids_of,
    is_sampled,
    sampled_parent,
    traceparent_of,
    with_traceparent,
)

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


@pytest.mark.parametrize("flags", [b"01", b"03", b"ff", b"0b"])
def test_the_last_bit_says_that_it_is_sampled(flags: bytes) -> None:
    assert is_sampled(TRACE + flags)


@pytest.mark.parametrize("odd", [b"", b"1", TRACE, TRACE + b"00", TRACE + b"0a", TRACE + b"011"])
def test_anything_else_is_not_sampled(odd: bytes) -> None:
    assert not is_sampled(odd)


@pytest.mark.parametrize(
    "odd", [b"", b"x" * 55, b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", TRACE.upper() + b"01"]
)
def test_what_is_no_context_has_no_ids(odd: bytes) -> None:
    assert ids_of(odd) is None


def test_it_is_found_wherever_it_stands() -> None:
    made = event_headers(Record(key="k", data={}), source="/s", type="t")
    there = traceparent_of(made)
    assert there
    assert traceparent_of(made[::-1]) == there
    assert traceparent_of([(TRACEPARENT, None), *made[:6]]) == b""  # type: ignore[list-item]
    assert traceparent_of([]) == b""


@pytest.mark.parametrize("value", [TRACE + b"01", TRACE + b"00", TRACE + b"011", b"", b"1", None])
def test_both_questions_in_one_have_the_same_answer(value: bytes) -> None:
    made = event_headers(Record(key="k", data={}), source="/s", type="t")
    at = [name for name, _ in made].index(TRACEPARENT)
    for headers in (
        [*made[:at], (TRACEPARENT, value), *made[at + 1 :]],
        [(TRACEPARENT, value), *made[:at], *made[at + 1 :]],
        [*made[:at], *made[at + 1 :]],
    ):
        parent = traceparent_of(headers)
        assert sampled_parent(headers) == (parent if is_sampled(parent) else b"")


def test_it_is_replaced_and_never_appended() -> None:
    made = event_headers(Record(key="k", data={}), source="/s", type="t")
    twice = [*made, (TRACEPARENT, b"another")]
    for headers in (made, twice, made[:3], []):
        new = with_traceparent(headers, TRACE + b"01")
        assert [value for name, value in new if name == TRACEPARENT] == [TRACE + b"01"]
        assert traceparent_of(new) == TRACE + b"01"
        others = [header for header in headers if header[0] != TRACEPARENT]
        assert [header for header in new if header[0] != TRACEPARENT] == others
