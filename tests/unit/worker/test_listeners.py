"""What becomes of events is told to metrics, alerts and the dead-letter limit alike."""

from __future__ import annotations

import asyncio

from trunkline import Alert, DeadLetterLimit, Rejected, Unavailable
from trunkline.streams.admission.controller import AdmissionController
from trunkline.streams.alerts.conditions import ConditionMonitor
from trunkline.streams.flow.policy import Policy
from trunkline.streams.metrics import DeliveryMetrics, Metrics
from trunkline.streams.worker.listeners import delivery_listener

LABELS = {"flow": "f", "step": "deliver", "name": "erp"}


class Told:
    """Everybody who listens to one delivery step."""

    def __init__(self, limit: DeadLetterLimit | None) -> None:
        self.metrics = Metrics()
        self.monitor = ConditionMonitor(Alert(), lambda: 1000.0)
        policy = Policy(dead_letter_limit=limit)
        self.admission = AdmissionController(policy, lambda: 1000.0, [])
        self.listener = delivery_listener(
            DeliveryMetrics(self.metrics, "f", "erp"), self.monitor, self.admission
        )

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {**LABELS, **labels}) or 0.0


def test_each_of_them_hears_of_a_dead_letter() -> None:
    async def tell() -> Told:
        told = Told(DeadLetterLimit(share=0.5, minimum=3))
        told.listener.on_delivered(1)
        for _ in range(2):
            told.listener.on_dead_lettered("f.erp.dlq", 1, Rejected("no"))
        return told

    told = asyncio.run(tell())
    assert told.count("trunkline_events_out_total") == 1
    assert told.count("trunkline_dead_letters_total") == 2
    assert told.count("trunkline_errors_total", error="Rejected") == 2
    assert [observation.amount for observation in told.monitor.observations()] == [2]
    gate = told.admission.dead_letter_limit
    assert gate is not None
    assert gate.tripped_at is not None
    assert str(gate.newest_error) == "no"


def test_errors_that_send_nothing_to_the_queue_are_counted_and_alert_nobody() -> None:
    told = Told(None)
    told.listener.on_retried(Rejected("later"))
    told.listener.on_held(Unavailable("503"))
    told.listener.on_lag(4.0)
    assert told.count("trunkline_errors_total", error="Rejected") == 1
    assert told.count("trunkline_errors_total", error="Unavailable") == 1
    assert told.count("trunkline_lag_seconds") == 4.0
    assert told.count("trunkline_dead_letters_total") == 0
    assert list(told.monitor.observations()) == []
