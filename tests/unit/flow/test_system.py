"""Shared systems: how their limits are written, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.errors import ConfigurationError
from trunkline.streams.flow.system import System, conflicting_limits
from trunkline.times import parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50/s", 50.0), ("90/m", 1.5), ("7200/h", 2.0), ("86400/d", 1.0), (" 0.5 / s ", 0.5)],
)
def test_a_rate_is_events_per_second(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text", ["50", "50/", "/s", "-1/s", "50/ms", "1e3/s", "fast", "", 50, None]
)
def test_what_is_no_rate_is_refused(text: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a rate: write 50/s"):
        parse_rate(text)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="lets nothing through"):
        parse_rate("0/s")


def test_a_system_knows_its_rate() -> None:
    assert System("erp", rate="120/m", concurrent=3).per_second == 2.0
    assert System("erp", concurrent=3).per_second is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"name": "erp"}, "sets no limit"),
        ({"name": "e r p", "rate": "1/s"}, "a name is letters"),
        ({"name": "", "rate": "1/s"}, "a name is letters"),
        ({"name": "erp", "rate": "much"}, "is not a rate"),
        ({"name": "erp", "concurrent": 0}, "a whole number from 1 on"),
        ({"name": "erp", "concurrent": True}, "a whole number from 1 on"),
        ({"name": "erp", "concurrent": 2.5}, "a whole number from 1 on"),
    ],
)
def test_a_system_that_cannot_be_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        System(**arguments)


def test_systems_that_disagree_are_named_with_both_places() -> None:
    systems = [
        ("orders.erp", System("erp", rate="50/s")),
        ("billing.erp", System("erp", rate="3000/m")),  # the same, written otherwise
        ("returns.erp", System("erp", rate="20/s", concurrent=2)),
        ("orders.crm", System("crm", concurrent=1)),
    ]
    (problem,) = conflicting_limits(systems)
    assert problem == (
        "system 'erp' has different limits: rate='50/s' in orders.erp, "
        "rate='20/s', concurrent=2 in returns.erp; the smallest hold, so write the same in both"
    )
