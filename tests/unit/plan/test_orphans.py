"""Retry topics of delays that a policy no longer has: found, and refused while an event waits.

What waits in them is counted on a real Kafka, in tests/integration/kafka/test_topics.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from delivery_kit import flow_of
from trunkline import ConfigurationError
from trunkline.kafka import KafkaUnavailable
from trunkline.params import Backbone
from trunkline.streams.plan import orphans
from trunkline.streams.plan.orphans import orphaned_tiers, require_drained_tiers

OLD = "sales.erp.retry.10m"
THERE = dict.fromkeys(("sales.erp.inbox", "sales.erp.retry.10s", OLD, "sales.crm.retry.10m"), 2)
BACKBONE = Backbone(bootstrap="127.0.0.1:1")


def test_only_the_destinations_own_old_retry_topics_are_orphaned() -> None:
    (erp,) = flow_of().destinations
    assert orphaned_tiers(erp, THERE) == [OLD]
    assert orphaned_tiers(erp, erp.tiers) == []


def waiting(monkeypatch: pytest.MonkeyPatch, count: int) -> list[tuple[str, str, int]]:
    """Let so many events wait in each topic; returns the questions that are asked."""
    asked: list[tuple[str, str, int]] = []

    def incomplete(backbone: Any, group: str, topic: str, partitions: int) -> int:
        asked.append((group, topic, partitions))
        return count

    monkeypatch.setattr(orphans, "_incomplete", incomplete)
    return asked


def test_a_start_is_refused_while_an_event_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting(monkeypatch, 40)
    with pytest.raises(ConfigurationError, match=r"^40 events wait in topic 'sales.erp.retry.10m'"):
        require_drained_tiers(BACKBONE, flow_of(), THERE)


def test_an_empty_old_topic_hinders_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = waiting(monkeypatch, 0)
    require_drained_tiers(BACKBONE, flow_of(), THERE)
    assert asked == [("sales.erp", OLD, 2)], "and no other topic is read"


def test_a_kafka_that_does_not_answer_is_no_mistake_of_the_flow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: Any) -> int:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    monkeypatch.setattr(orphans, "_incomplete", away)
    with pytest.raises(KafkaUnavailable, match=OLD):
        require_drained_tiers(BACKBONE, flow_of(), THERE)
