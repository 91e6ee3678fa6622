"""What metrics, alerts and status say of how much waits."""

from __future__ import annotations

from delivery_parts import Parts, event, message
from trunkline.streams.deliver.gauges import DeliveryGauges


def test_lag_is_what_is_unread_and_what_is_in_memory() -> None:
    parts = Parts()
    gauges = DeliveryGauges(parts.consumer, parts.tracker, parts.order, parts.metrics)  # type: ignore[arg-type]  # what of it is asked for
    parts.consumer.lag = 7
    parts.tracker.receive([message(offset, at=40.0) for offset in range(3)])
    parts.tracker.complete([event(0)])
    assert (gauges.lag, gauges.lag_seconds) == (9, 60.0)
    gauges.refresh()
    assert parts.metric("trunkline_lag_messages") == 9
    assert parts.metric("trunkline_lag_seconds") == 60.0


def test_waiting_are_those_whose_key_is_blocked() -> None:
    parts = Parts()
    gauges = DeliveryGauges(parts.consumer, parts.tracker, parts.order, parts.metrics)  # type: ignore[arg-type]  # what of it is asked for
    parts.order.begin([("a", 1, 110.0), ("a", 2, 120.0), ("b", 3, 110.0)])
    assert gauges.waiting == 3
    gauges.refresh()
    assert parts.metric("trunkline_waiting_events") == 3
