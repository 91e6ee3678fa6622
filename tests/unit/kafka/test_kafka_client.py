"""Kafka clients without Kafka: what they are set to, and that a user's settings win."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from trunkline import ConfigurationError, kafka
from trunkline.params import Backbone

NOWHERE = "127.0.0.1:1"


def test_the_backbone_is_what_clients_connect_to() -> None:
    assert kafka.settings(Backbone(bootstrap="kafka:9092"))["bootstrap.servers"] == "kafka:9092"


def test_what_a_client_adds_wins_over_what_all_have() -> None:
    assert kafka.settings(Backbone(), **{"client.id": "mine"})["client.id"] == "mine"


def test_a_users_settings_win_over_all_others() -> None:
    given = {"client.id": "theirs", "security.protocol": "SSL", "linger.ms": "50"}
    found = kafka.settings(Backbone(kafka=given), **{"client.id": "mine", "linger.ms": 2})
    assert found.items() >= given.items()


@pytest.mark.parametrize("make", ["consumer", "producer", "transactional", "admin"])
def test_a_users_settings_reach_every_client(make: str) -> None:
    """librdkafka itself refuses this value, so it must have got it."""
    backbone = Backbone(bootstrap=NOWHERE, kafka={"security.protocol": "carrier-pigeon"})
    makers = {
        "consumer": lambda: kafka.consumer(backbone, "group"),
        "producer": lambda: kafka.producer(backbone),
        "transactional": lambda: kafka.producer(backbone, transactional_id="id"),
        "admin": lambda: kafka.admin(backbone),
    }
    with pytest.raises(ConfigurationError, match="carrier-pigeon"):
        makers[make]()


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no file ssl\.ca\.location"):
        kafka.admin(Backbone(kafka={"security.protocol": "SSL", "ssl.ca.location": "/no/such.pem"}))


def test_no_client_is_warned_of_what_another_kind_takes(caplog: pytest.LogCaptureFixture) -> None:
    given = {"linger.ms": "50", "fetch.wait.max.ms": "20"}
    backbone = Backbone(bootstrap=NOWHERE, kafka=given)
    consumer, producer = kafka.consumer(backbone, "group"), kafka.producer(backbone)
    producer.poll(0)
    consumer.poll(0)
    consumer.close()
    assert not [line for line in caplog.messages if "CONFWARN" in line]


def test_our_own_settings_are_ones_that_librdkafka_takes(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt or conflicting one raises, or is warned of."""
    backbone = Backbone(bootstrap=NOWHERE)
    consumer = kafka.consumer(backbone, "group", eof=True)
    clients = [kafka.producer(backbone), kafka.producer(backbone, transactional_id="id")]
    for client in clients:
        client.poll(0)
    consumer.close()
    assert not [line for line in caplog.messages if "CONFWARN" in line]


def test_no_kafka_is_told_with_what_to_do() -> None:
    with pytest.raises(kafka.KafkaUnavailable, match="is TRUNKLINE_BOOTSTRAP right, and is it up"):
        kafka.existing_topics(kafka.admin(Backbone(bootstrap=NOWHERE)), timeout=0.2)


def test_ids_of_transactions_are_of_this_process_alone() -> None:
    ids = {kafka.unique_id("orders", role) for role in ("route", "erp", "route")}
    assert len(ids) == 3
    assert all(id.startswith("trunkline.orders.") for id in ids)


def test_only_a_fatal_failure_ends_a_producer() -> None:
    fenced = KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True))
    aborted = KafkaException(KafkaError(KafkaError._TIMED_OUT, "late", txn_requires_abort=True))
    assert not kafka.reusable(fenced)
    assert kafka.reusable(aborted)
