"""What of a flow's figures is a trouble: each state with its words, its urgency and its remedy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline.admin.destinations import DestinationOverview
from trunkline.admin.health import (
    DestinationFigures,
    FlowFigures,
    LetterFigures,
    RoutingFigures,
    SourceFigures,
)
from trunkline.admin.measures import Measure
from trunkline.admin.sources import SnapshotStatus, SourceOverview, SourceStatus
from trunkline.admin.status import HeldEvent, WorkerStatus
from trunkline.admin.targets import Target
from trunkline.admin.verdicts import Trouble, troubles
from trunkline.connectors.base import Gauge
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.times import iso

NOON = datetime(2030, 5, 31, 12, tzinfo=UTC)
NOW = NOON.timestamp()
PAUSED = OverrideRecord("paused", None, "ada@desk", "upgrade", "2030-05-31T11:00:00+00:00")
WELL = SourceStatus("w1", "running", iso(NOW - 99), None, None, iso(NOW), 1.0, stale=False)
ERP, SHOP = Target("orders", "erp"), Target("orders", "shop")


def source(status: SourceStatus | None = WELL, **more: Any) -> FlowFigures:
    given = {"members": 1, "late": 0.0, "stored_at": NOON, **more}
    letters = given.pop("letters", LetterFigures())
    override = given.pop("override", OverrideRecord())
    in_force = override.in_force(NOW)
    found = SourceOverview(SHOP, override, in_force, status=status, **given)
    return FlowFigures("orders", NOW, [SourceFigures(found, letters)])


def destination(*workers: WorkerStatus, members: int = 1, **more: Any) -> FlowFigures:
    override = more.pop("override", OverrideRecord())
    found = DestinationOverview(ERP, override, override.in_force(NOW), members, workers)
    return FlowFigures("orders", NOW, destinations=[DestinationFigures(found, **more)])


def worker(state: str, **more: Any) -> WorkerStatus:
    told = WorkerStatus("w1", state, iso(NOW - 90), None, 4, 1, iso(NOW), 1.0, stale=False)
    return replace(told, **more)


def waits(seconds: float, count: int = 7, **more: Any) -> Measure:
    return Measure(count, oldest=NOW - seconds, **more)


def only(figures: FlowFigures) -> Trouble:
    (found,) = troubles(figures)
    return found


def test_a_flow_of_which_all_is_well_has_no_troubles() -> None:
    routing = RoutingFigures(1, {"orders.all": waits(3)})
    well = FlowFigures(
        "orders",
        NOW,
        source().sources,
        routing,
        destination(inbox=waits(3)).destinations,
    )
    assert troubles(well) == []


@pytest.mark.parametrize(
    ("figures", "what", "mend", "urgent"),
    [
        (source(None, members=0), "no worker runs it", "--only source", True),
        (source(replace(WELL, stale=True), members=0), "no worker runs it", "--only source", True),
        (
            source(replace(WELL, state="failing", error="no route to host")),
            "it cannot be read: no route to host",
            "trunkline source check",
            True,
        ),
        (
            source(replace(WELL, state="stopped", error="slot lost"), members=0),
            "stopped, a person must mend something: slot lost",
            "trunkline source check",
            True,
        ),
        (
            source(replace(WELL, state="dead-letter-limit")),
            "too much cannot be mapped",
            "trunkline dlq group orders.shop; then trunkline source resume orders.shop",
            True,
        ),
        (source(override=PAUSED), "paused by ada@desk: upgrade", "resume orders.shop", False),
        (source(late=3700.0), "1 h 1 min behind", "trunkline source status", False),
        (
            source(replace(WELL, gauges=[Gauge("left_bytes", 9, warning="the slot is near")])),
            "the slot is near",
            "",
            False,
        ),
        (
            source(
                snapshots=[
                    SnapshotStatus("a", "p.x", "", "failed", 3, None, "no table", "", "", "")
                ]
            ),
            "snapshot a of p.x failed: no table",
            "--table p.x",
            False,
        ),
        (
            source(letters=LetterFigures(2000, False, NOON, "DataError: no id")),
            "2,000 or more dead letters that nobody has handled, the newest of "
            "2030-05-31T12:00:00Z: DataError: no id",
            "dlq group orders.shop",
            False,
        ),
        (destination(members=0, inbox=waits(9)), "no worker delivers to it; 7", "deliver", True),
        (destination(worker("open")), "its system is down", "mend its system", True),
        (
            destination(worker("cannot-open", why="no table x")),
            "it cannot be opened: no table x",
            "tried again",
            True,
        ),
        (
            destination(worker("halted", halted_keys=3)),
            "3 keys wait for a person",
            "dlq list orders.erp",
            True,
        ),
        (
            destination(worker("dead-letter-limit")),
            "too much is dead-lettered",
            "destination resume orders.erp",
            True,
        ),
        (destination(worker("maintenance")), "maintenance window", "by itself", False),
        (destination(override=PAUSED), "paused by ada@desk: upgrade", "resume orders.erp", False),
        (destination(inbox=waits(300)), "5 min old; 7 events wait", "more workers", False),
        (
            destination(letters=LetterFigures(1, True, NOON, "Rejected: 422")),
            "1 dead letter that",
            "then dlq redrive or discard",
            False,
        ),
        (
            FlowFigures("orders", NOW, routing=RoutingFigures(0, {"t": waits(9, 1)})),
            "no worker routes it; 1 event waits",
            "--only route",
            True,
        ),
    ],
)
def test_a_trouble_says_what_and_how_to_mend_it(
    figures: FlowFigures, what: str, mend: str, urgent: bool
) -> None:
    found = only(figures)
    assert what in found.what
    assert mend in found.mend
    assert found.urgent is urgent
    assert found.where.startswith("orders")


def test_the_gravest_state_counts_with_its_earliest_time_and_a_reason() -> None:
    held = HeldEvent("k", "e", "orders.erp.inbox/0/4", iso(NOW - 80), 9, "Unavailable: refused")
    figures = destination(
        worker("slow-start"),
        worker("holding", worker="w2", held=(held,)),
        worker("open", worker="w3", since=iso(NOW - 10), held=(held,)),
        worker("open", worker="w4", since=iso(NOW - 70)),
    )
    found = only(figures)
    assert found.what == "its system is down, nothing is sent: Unavailable: refused"
    assert found.since == iso(NOW - 70)


def test_what_a_killed_worker_told_is_no_trouble_of_those_that_run() -> None:
    assert troubles(destination(worker("open", stale=True))) == []
    found = only(destination(worker("open", stale=True, at=iso(NOW - 500)), members=0))
    assert (found.what, found.since) == ("no worker delivers to it", iso(NOW - 500))


def test_when_a_worker_was_last_heard_is_told_once_it_should_have_told_more() -> None:
    down = "its system is down, nothing is sent"
    assert only(destination(worker("open", age=11.0))).what == down
    silent = worker("open", age=31.0)
    assert only(destination(silent)).what == f"{down}; last heard of w1 31 s ago"
    assert only(destination(silent, worker("open", worker="w2"))).what == down


def test_a_partition_that_cannot_be_routed_is_urgent() -> None:
    held = HeldEvent("k", "e", "orders.all/1/4", iso(NOW - 80), 9, "RegistryUnavailable: away")
    holding = worker("holding", held=(held,))
    figures = FlowFigures("orders", NOW, routing=RoutingFigures(1, {}, [holding]))
    found = only(figures)
    assert found.what == "orders.all/1/4 cannot be routed for now: RegistryUnavailable: away"
    assert (found.where, found.since, found.urgent) == ("orders", iso(NOW - 80), True)


def test_what_is_urgent_comes_first() -> None:
    letters = LetterFigures(1, True, NOON, "Rejected: 422")
    figures = destination(worker("open"), letters=letters)
    assert [one.urgent for one in troubles(figures)] == [True, False]


def test_a_throttled_destination_that_is_late_is_not_blamed() -> None:
    assert troubles(destination(worker("throttled"), inbox=waits(300))) == []
