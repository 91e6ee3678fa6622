"""What an operator commands a destination, as its control record has it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline.streams.admission.manual import OverrideRecord
from trunkline.streams.control.records import OverrideKey

NOON = datetime(2030, 5, 31, 12, tzinfo=UTC).timestamp()


def test_it_survives_its_record() -> None:
    command = OverrideRecord(
        "paused", "2030-05-31T14:00Z", "anna@desk", "upgrade", "2030-05-31T12:00Z"
    )
    assert OverrideRecord.of(command.value()) == command
    assert OverrideKey("warehouse").text == "destination/warehouse"


def test_without_a_record_the_destination_decides() -> None:
    assert OverrideRecord.of(None).in_force(NOON) == "auto"


def test_a_pause_ends_by_itself() -> None:
    command = OverrideRecord("paused", until="2030-05-31T14:00+02:00")
    assert command.ends_at == NOON
    assert command.in_force(NOON - 1) == "paused"
    assert command.in_force(NOON) == "auto"


@pytest.mark.parametrize("state", ["paused", "forced", "auto"])
def test_without_an_end_it_lasts(state: Any) -> None:
    assert OverrideRecord(state).in_force(NOON * 100) == state


def test_what_a_newer_version_adds_is_no_trouble() -> None:
    assert OverrideRecord.of({"state": "paused", "ticket": 7}) == OverrideRecord("paused")


@pytest.mark.parametrize(
    "value",
    [{"state": "open"}, {"state": "paused", "until": "soon"}, {"state": "paused", "until": 7}],
)
def test_a_record_that_makes_no_sense_is_logged_and_ignored(
    value: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert OverrideRecord.of(value) == OverrideRecord()
    assert "ignored" in caplog.text
