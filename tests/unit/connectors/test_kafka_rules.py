"""KafkaCluster and KafkaSink: what they refuse, what their errors tell and hide, and what follows
for the later records of a key whose record failed."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from trunkline.connectors.base import CallLimits
from trunkline.connectors.kafka import KafkaCluster, KafkaSink, KafkaSource
from trunkline.connectors.kafka.answers import delivery_error
from trunkline.errors import ConfigurationError, Rejected, Unavailable
from trunkline.params import Secret
from trunkline.schemas.commerce import Order

CLUSTER = KafkaCluster("there:9092", {"sasl.password": Secret("hunter2")})


@pytest.mark.parametrize(
    ("bootstrap", "settings", "told"),
    [
        ("", {}, "bootstrap="),
        ("a:1", {"group.id": "mine"}, "Trunkline's own"),
        ("a:1", {"isolation.level": "read_uncommitted"}, "Trunkline's own"),
        ("a:1", {"sasl.pasword": "x"}, "did you mean sasl.password"),
    ],
)
def test_a_cluster_that_cannot_be(bootstrap: str, settings: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        KafkaCluster(bootstrap, settings)


def test_a_cluster_shows_no_secret() -> None:
    assert "hunter2" not in repr(CLUSTER)
    told = CLUSTER.told(
        "Kafka refuses hunter2: set sasl.password (TRUNKLINE_KAFKA__SASL_PASSWORD). Is "
        "TRUNKLINE_BOOTSTRAP right?"
    )
    assert told == "Kafka refuses ***: set sasl.password. Is bootstrap= right?"


def test_its_clients_have_its_settings_and_ours() -> None:
    backbone = CLUSTER.backbone(auto_offset_reset="error")
    assert backbone.bootstrap == "there:9092"
    assert backbone.kafka == {"sasl.password": "hunter2", "auto.offset.reset": "error"}


@pytest.mark.parametrize(
    "options",
    [
        {"topic": ""},
        {"value": "xml"},
        {"value": "avro"},  # whose registry nobody named
        {"max_batch": 0},
        {"timeout": 0},
    ],
)
def test_a_sink_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        KafkaSink(CLUSTER, Order, **{"topic": "orders", "value": "json", **options})


@pytest.mark.parametrize(
    "options", [{"value": "xml"}, {"key": "float"}, {"value": "avro"}, {"start": "now"}]
)
def test_a_source_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        KafkaSource(CLUSTER, "orders", **options)


def sink() -> KafkaSink[Order]:
    return KafkaSink(CLUSTER, Order, "orders", value="json")


def test_what_a_flow_says_of_calls() -> None:
    of = sink()
    of.configure(CallLimits(timeout=3, batch=20, linger=0.1))
    assert (of.max_batch, of._timeout) == (20, 3)


def test_what_follows_a_record_that_failed_fails_too() -> None:
    """Else its retry would be behind them, and the topic would end on the older one."""
    records = {n: ("orders", key, b"", []) for n, key in enumerate((b"a", b"b", b"a", b"b", b"a"))}
    lost = KafkaError(KafkaError._MSG_TIMED_OUT)
    failures = sink()._failures(records, {**dict.fromkeys(records), 2: lost}, object())  # type: ignore[arg-type]
    assert sorted(failures) == [2, 4]
    assert all(isinstance(failure, Unavailable) for failure in failures.values())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, Rejected),
        (KafkaError.INVALID_RECORD, Rejected),
        (KafkaError.POLICY_VIOLATION, Rejected),
        (KafkaError._MSG_TIMED_OUT, Unavailable),
        (KafkaError.NOT_ENOUGH_REPLICAS, Unavailable),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, Unavailable),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Unavailable),
    ],
)
def test_what_an_error_means(code: int, kind: type) -> None:
    error = delivery_error(CLUSTER, "orders", KafkaError(code), "refused hunter2")
    assert type(error) is kind
    assert "'orders'" in str(error)
    assert "hunter2" not in str(error)
