"""What is written when a destination is paused, forced and resumed; how it is by what is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trunkline.admin.destinations import (
    force_destination,
    overview,
    pause_destination,
    resume_destination,
)
from trunkline.admin.targets import Target
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.streams.control.audit import who

ERP = Target("orders", "erp")
NOON = datetime(2030, 5, 31, 12, tzinfo=UTC)
HERE = Backbone()


def test_a_pause_is_written_with_its_audit_record(written: Any) -> None:
    end = datetime.now(UTC) + timedelta(hours=2)
    command = pause_destination(HERE, ERP, until=end, why="upgrade", by="ada@desk")
    flow, changes, audit = written.only
    assert flow == "orders"
    assert changes == {"destination/erp": command.value()}
    assert (command.by, command.why) == ("ada@desk", "upgrade")
    assert command.until == end.isoformat(timespec="milliseconds")
    assert (audit.what, audit.on, audit.who, audit.why) == ("pause", "erp", "ada@desk", "upgrade")
    assert audit.at == command.at
    assert audit.more == {"state": command.state, "until": command.until}


def test_it_is_the_user_of_this_process_unless_another_is_named(written: Any) -> None:
    assert pause_destination(HERE, ERP).by == who()
    assert written.only[2].who == who()


def test_a_forcing_and_its_end_are_both_called_resume(written: Any) -> None:
    states = [do(HERE, ERP).state for do in (force_destination, resume_destination)]
    told = [(audit.what, audit.more["state"]) for _, _, audit in written.transactions]
    assert told == [("resume", state) for state in states]
    assert states[1] == "auto"


def test_a_pause_that_is_over_is_refused_before_anything_is_asked(written: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"a pause until 2020-01-01.* is over already"):
        pause_destination(HERE, ERP, until=datetime(2020, 1, 1, tzinfo=UTC))
    assert written.transactions == []


def test_an_overview_has_the_command_and_what_workers_told() -> None:
    told = {
        "state": "slow-start",
        "since": None,
        "lag": 4,
        "waiting": 1,
        "at": "2030-05-31T11:59:50Z",
    }
    command = OverrideRecord("auto", None, "ada@desk", "", "2030-05-31T11:00Z")
    state = {
        "destination/erp": command.value(),
        "destination/crm": {"state": "nonsense"},
        "status/erp/w2": {**told, "at": "2030-05-31T11:00:00Z"},
        "status/erp/w1": told,
        "status/erp2/w1": told,
    }
    found = overview(ERP, state, 3, NOON.timestamp())
    assert (found.target, found.override, found.members) == (ERP, command, 3)
    one, other = found.workers
    assert (one.worker, one.state, one.lag, one.waiting, one.age) == ("w1", "slow-start", 4, 1, 10)
    assert (one.stale, other.stale) == (False, True)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_command_is_in_force_until_its_end(hours: int, written: Any) -> None:
    end = NOON + timedelta(hours=hours)
    command = pause_destination(HERE, ERP, until=end if hours > 0 else NOON + timedelta(days=1))
    state = {"destination/erp": {**command.value(), "until": end.isoformat()}}
    found = overview(ERP, state, 1, NOON.timestamp())
    assert found.in_force == (command.state if hours > 0 else "auto")
    assert found.override.state == command.state


def test_nothing_is_commanded_where_no_record_is() -> None:
    found = overview(ERP, {}, 0, NOON.timestamp())
    assert (found.override, found.in_force, found.workers) == (OverrideRecord(), "auto", [])
