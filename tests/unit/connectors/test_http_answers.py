"""Retry-After in both of its forms, and whatever else servers put there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trunkline.connectors.http.answers import failure, seconds_until

NOW = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("Thu, 29 Feb 2024 12:02:00 GMT", 120.0),
        ("Thursday, 29-Feb-24 12:02:00 GMT", 120.0),
        ("Thu Feb 29 12:02:00 2024", 120.0),
        ("Thu, 29 Feb 2024 13:02:00 +0100", 120.0),
        ("Thu, 29 Feb 2024 11:00:00 GMT", 0.0),
        ("3600000", 86_400.0),
        ("99999999999999", 86_400.0),
        ("9" * 400, 86_400.0),
        ("0" * 400 + "7", 7.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("1 Jan 2030 00:00:00 +99999999999999", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("\u0663", None),  # a digit, but of no HTTP header
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("Thu, 99 Feb 2024 12:02:00 GMT", None),
    ],
)
def test_seconds_until(header: str, seconds: float | None) -> None:
    assert seconds_until(header, NOW) == seconds


@pytest.mark.parametrize("status", [301, 400, 404, 408, 422, 429, 500, 503])
def test_each_failure_knows_its_status(status: int) -> None:
    assert failure(status, "what").status == status
