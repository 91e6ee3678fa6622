"""What workers told of a destination, as operators read it."""

from __future__ import annotations

from typing import Any

from trunkline.admin.status import worker_statuses
from trunkline.times import iso

NOW = 1_000_000.0


def test_what_was_told_is_read_with_its_age() -> None:
    state: dict[str, dict[str, Any]] = {
        "status/erp/a": {"state": "open", "at": iso(NOW - 10), "lag": 7, "since": "x"},
        "status/erp/b": {"state": "slow-start", "at": iso(NOW - 46)},
        "status/erp/c": {"state": "slow-start"},
        "status/erp2/d": {"state": "open", "at": iso(NOW)},
        "destination/erp": {"state": "paused"},
    }
    found = worker_statuses(state, "erp", NOW)
    assert [(one.worker, one.state, one.stale) for one in found] == [
        ("a", "open", False),
        ("b", "slow-start", True),
        ("c", "slow-start", True),
    ]
    assert (found[0].lag, found[0].waiting, found[0].since) == (7, None, "x")
    assert found[0].age == 10
