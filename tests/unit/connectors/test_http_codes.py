"""A system's own word for what is wrong, in the answers of those that have one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.connectors.http.answers import code_of


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"code": "QTY_MIN"}', "QTY_MIN"),
        (b'{"error_code": 42}', "42"),
        (b'{"error": {"code": "card_declined", "message": "no"}}', "card_declined"),
        (b'{"errors": [{"errorCode": "E1"}, {"errorCode": "E2"}]}', "E1"),
        (b'{"error": "invalid_request"}', "invalid_request"),
        (b'{"error": "it is not allowed"}', ""),
        (b'{"code": true}', ""),
        (b'{"code": "' + b"x" * 101 + b'"}', ""),
        (b'{"errors": []}', ""),
        (b"[1]", ""),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_the_code_of_an_answer(body: bytes, code: str) -> None:
    assert code_of(body) == code


@given(st.binary(max_size=100))
def test_no_answer_ends_a_call(body: bytes) -> None:
    assert code_of(body) == ""
