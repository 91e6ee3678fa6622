"""Which monitor hears of what a step tells."""

from __future__ import annotations

from trunkline import Alert, Rejected
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.alerts.listener import AlertListener


def monitor() -> ConditionMonitor:
    return ConditionMonitor(Alert(lag="1m"), lambda: 1000.0)


def kinds(of: ConditionMonitor) -> list[str]:
    return [observation.kind.name for observation in of.observations()]


def test_dead_letters_of_a_route_concern_the_destination_whose_queue_it_is() -> None:
    routing, erp = monitor(), monitor()
    listener = AlertListener(routing, {"f.erp.dlq": erp})
    listener.on_dead_lettered("f.erp.dlq", 2, Rejected("no"))
    assert kinds(routing) == []
    (seen,) = erp.observations()
    assert (seen.amount, seen.error) == (2, "Rejected: no")


def test_other_dead_letters_and_lag_concern_the_step() -> None:
    routing, erp = monitor(), monitor()
    listener = AlertListener(routing, {"f.erp.dlq": erp})
    listener.on_dead_lettered("f.crm.dlq", 1, Rejected("no"))
    listener.on_lag(120.0)
    assert len(kinds(routing)) == 2
    assert kinds(erp) == []


def test_what_goes_well_and_what_is_tried_again_is_no_condition() -> None:
    step = monitor()
    listener = AlertListener(step)
    listener.on_delivered(5)
    listener.on_retried(Rejected("no"))
    listener.on_held(Rejected("no"))
    assert kinds(step) == []
