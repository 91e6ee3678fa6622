"""Up to which time SqlPolling reads a column that has no zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from trunkline.connectors.sql.polling.values import before


def test_an_hour_that_a_zone_has_twice_is_read_when_it_is_over() -> None:
    rome = ZoneInfo("Europe/Rome")

    def until(utc: str) -> str:
        now = datetime.fromisoformat(f"2026-10-{utc}:00+00:00")
        return str(before(now, 60, rome, zoned=False))

    assert until("24 23:31") == "2026-10-25 01:30:00"
    for twice in ("25 00:31", "25 00:59", "25 01:01", "25 01:31", "25 02:00"):
        assert until(twice) == "2026-10-25 01:59:59.999999"
    assert until("25 02:01") == "2026-10-25 03:00:00"
    summer = datetime(2026, 3, 29, 1, 0, 30, tzinfo=UTC)
    assert str(before(summer, 60, rome, zoned=False)) == "2026-03-29 01:59:30"
    assert before(summer, 0, rome, zoned=True) == summer
