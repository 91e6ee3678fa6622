"""Who listens to the steps of a worker."""

from __future__ import annotations

from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.admission.dead_letter_limit import DeadLetterLimitListener
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.alerts.listener import AlertListener
from trunkline.streams.listener import Listeners, OutcomeListener
from trunkline.streams.metrics import DeliveryMetrics


def delivery_listener(
    metrics: DeliveryMetrics, monitor: ConditionMonitor, admission: AdmissionController
) -> OutcomeListener:
    """Metrics, alerts and, if the destination has one, the dead-letter limit."""
    alerts = AlertListener(monitor)
    if admission.dead_letter_limit is None:
        return Listeners(metrics, alerts)
    return Listeners(metrics, alerts, DeadLetterLimitListener(admission.dead_letter_limit))
