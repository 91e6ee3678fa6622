"""Masking: what differs from event to event goes, what tells errors apart stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.masking import MAX_MASKED, mask


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("customer 4711 is unknown", "customer <n> is unknown"),
        ("12.50 is over 1,000.00", "<n> is over <n>"),
        ("order 3f2a91c0-0000-4000-8000-0123456789ab is gone", "order <id> is gone"),
        ("trace 4bf92f3577b34da6a3ce929d0e0e4736", "trace <id>"),
        ("at 0x7f4cc8a42ec0", "at <id>"),
        ("late since 2026-11-22T21:30:58.123+00:00", "late since <time>"),
        ("late since 2026-11-22 21:30", "late since <time>"),
        ("'status'", "'…'"),
        ("no field 'status' in `orders`", "no field '…' in `…`"),
        ("it doesn't know Ada's order", "it doesn't know Ada's order"),
        ("POST http://h:81/o/17 answered 422: no", "POST http://h:<n>/o/<n> answered 422: no"),
        ('{"error": "unknown_user"}', '{"error": "…"}'),
        ('{"error": "no user has the id 17"}', '{"error": "no user has the id <n>"}'),
        ("", ""),
    ],
)
def test_what_differs_is_masked(message: str, masked: str) -> None:
    assert mask(message) == masked


def test_a_cause_is_told_by_its_beginning() -> None:
    assert len(mask("x " * 5000)) == MAX_MASKED


@given(st.text(), st.integers(0), st.uuids())
def test_numbers_and_ids_make_no_difference(text: str, number: int, id: object) -> None:
    assert mask(f"{text} 7 ") == mask(f"{text} {number} ")
    assert mask(f"no user {id} here") == mask("no user 00000000-0000-0000-0000-000000000000 here")


def test_statuses_tell_answers_apart() -> None:
    assert mask("POST http://erp/ answered 400: no") != mask("POST http://erp/ answered 422: no")
