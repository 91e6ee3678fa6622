"""KafkaCluster and KafkaSink: what they refuse, what their errors tell and hide, and what follows
for the later records of a key whose record failed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from trunkline import kafka
from trunkline.connectors.base import CallLimits
from trunkline.connectors.kafka import KafkaCluster, KafkaSink, KafkaSource
from trunkline.connectors.kafka.answers import delivery_error
from trunkline.connectors.kafka.reader import TopicReader
from trunkline.connectors.kafka.topics import Stopped, Topic, TopicQuestions
from trunkline.errors import (
    ConfigurationError,
    DeliveryError,
    Rejected,
    SourceError,
    Unavailable,
)
from trunkline.event import Event
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
    "options",
    [
        {"value": "xml"},
        {"key": "float"},
        {"value": "avro"},
        {"start": "now"},
        {"batch": 0},
        {"batch": 2_000_000},  # more than the client gives at once
    ],
)
def test_a_source_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        KafkaSource(CLUSTER, "orders", **options)


@pytest.mark.parametrize("topic", ["shop.*", "^shop", "a b", "", "a" * 250])
def test_a_topic_that_cannot_be(topic: str) -> None:
    """Else it would be asked for again and again."""
    with pytest.raises(ConfigurationError, match="topic"):
        KafkaSource(CLUSTER, topic)


def test_what_no_client_takes_is_said_of_the_cluster_it_is_for() -> None:
    settings = {"security.protocol": "SSL", "ssl.ca.location": "/nowhere/ca.pem"}
    of = KafkaCluster("there:9092", settings)
    with pytest.raises(ConfigurationError) as refused:
        of.client(kafka.admin)
    assert "KafkaCluster('there:9092')" in str(refused.value)
    assert "trunkline" not in str(refused.value).lower(), "that is for our own cluster"


@pytest.mark.parametrize("name", ["message.timeout.ms", "delivery.timeout.ms"])
def test_how_long_a_record_is_tried_is_said_in_one_place(name: str) -> None:
    of = KafkaCluster("there:9092", {name: "300000"})
    with pytest.raises(ConfigurationError, match="give timeout="):
        KafkaSink(of, Order, "orders", value="json")


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


class Cluster(KafkaSink[Order]):
    """A sink whose cluster answers as it is told: for each try of a record, by its number."""

    def __init__(self, **answers: list[type[DeliveryError] | None]) -> None:
        super().__init__(CLUSTER, Order, "orders", value="json")
        self.answers = answers
        self.taken: list[str] = []

    def _send(self, records: Mapping[int, tuple[Any, ...]]) -> dict[int, DeliveryError]:
        failed: dict[int, DeliveryError] = {}
        for index, (_, key, *_rest) in records.items():
            answers = self.answers.get(f"{key.decode()}{index}", [])
            if (answer := answers.pop(0) if answers else None) is not None:
                failed[index] = answer("no")
            else:
                self.taken.append(f"{key.decode()}{index}")
        return failed

    def write(self, *keys: str) -> dict[int, DeliveryError]:
        events = [Event(key, b"{}", (), lambda _: {}, "orders", 0, n) for n, key in enumerate(keys)]
        return self._write(events)


def test_no_newer_record_of_a_key_is_sent_before_an_older_one_that_comes_again() -> None:
    """All of a request are refused for the large one in it; a is sent again, and the cluster is
    away; it is back for the newer a. The older one would come behind it, and be the last word."""
    of = Cluster(a0=[Rejected, Unavailable], b1=[Rejected, Rejected], a2=[Rejected], c3=[Rejected])
    failures = of.write("a", "b", "a", "c")
    assert {index: type(error) for index, error in failures.items()} == {
        0: Unavailable,
        1: Rejected,
        2: Unavailable,
    }
    assert of.taken == ["c3"]


def test_a_cluster_that_goes_away_is_waited_for_once() -> None:
    of = Cluster(a0=[Rejected, Unavailable], b1=[Rejected], c2=[Rejected])
    of._timeout = 0.0  # it has passed with the first
    failures = of.write("a", "b", "c")
    assert [type(error) for error in failures.values()] == [Unavailable] * 3
    assert of.taken == []


def topic_of(event: Event[Order]) -> str:
    return {"a": "orders"}[event.key] if event.key != "none" else ""


def test_an_event_that_has_no_topic_fails_alone() -> None:
    of = Cluster()
    of._topic = topic_of
    failures = of.write("a", "x", "none")
    assert {index: type(error) for index, error in failures.items()} == {1: Rejected, 2: Rejected}
    assert of.taken == ["a0"]


class Answers:
    """An admin client whose brokers know these topics, one answer after the other."""

    def __init__(self, *known: Mapping[str, str]) -> None:
        self.known = list(known)

    def poll(self, timeout: float) -> None:
        pass

    def describe_topics(self, asked: Any, request_timeout: float) -> Any:
        known = self.known.pop(0) if len(self.known) > 1 else self.known[0]
        answers = {}
        for name in asked.topic_names:
            answers[name] = answer = Future[Any]()
            if name in known:
                answer.set_result(SimpleNamespace(topic_id=known[name], partitions=[1]))
            else:
                error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
                answer.set_exception(KafkaException(error))
        return answers

    def list_offsets(self, asked: Any, **_: Any) -> Any:
        answer = Future[Any]()
        answer.set_exception(KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)))
        return dict.fromkeys(asked, answer)


def questions(*known: Mapping[str, str], stop: bool = False) -> TopicQuestions:
    stopped = threading.Event()
    if stop:
        stopped.set()
    of = TopicQuestions(CLUSTER, stopped)
    of._client = Answers(*known)  # type: ignore[assignment]
    return of


def test_a_topic_that_one_broker_does_not_know_for_a_moment_is_not_gone() -> None:
    assert list(questions({}, {}, {"t": "1"}).topics(["t"], ["t"])) == ["t"]


def test_a_topic_that_nobody_knows_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.connectors.kafka.topics.GONE_AFTER", 0.0)
    assert questions({}).topics(["t"], ["t"]) == {}


def test_a_source_that_is_stopped_asks_no_more() -> None:
    with pytest.raises(Stopped):
        questions({}, stop=True).offsets([("t", 0)], "latest")
    with pytest.raises(Stopped):
        questions({}, stop=True).topics(["t"], ["t"])


def part_of(stored_id: str, now: str) -> str:
    reader = TopicReader(CLUSTER, ["t"], threading.Event(), start="earliest", interval=1)
    stored = {"id": stored_id, "next": {"0": 5}}
    return reader._part("t", stored, Topic(now, 1)).id


def test_a_cluster_that_begins_to_tell_ids_of_topics_has_the_same_topics() -> None:
    """As when it is upgraded beyond Kafka 2.8."""
    assert (part_of("", "x"), part_of("x", ""), part_of("x", "x")) == ("x", "x", "x")
    with pytest.raises(ConfigurationError, match="made anew"):
        part_of("x", "y")


def test_an_error_of_a_partition_is_never_passed_over() -> None:
    """The client goes on behind a batch whose checksum is wrong, and says so once."""
    reader = TopicReader(CLUSTER, ["t"], threading.Event(), start="earliest", interval=1)
    of_partition = SimpleNamespace(topic=lambda: "t", partition=lambda: 0)
    with pytest.raises(SourceError, match="topic 't'"):
        reader._heard(of_partition, KafkaError(KafkaError._BAD_MSG))  # type: ignore[arg-type]
    of_none = SimpleNamespace(topic=lambda: None, partition=lambda: -1)
    reader._heard(of_none, KafkaError(KafkaError._TRANSPORT))  # type: ignore[arg-type]
