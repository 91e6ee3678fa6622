"""KafkaSource on a real Kafka: nothing is passed over in silence, whatever becomes of a topic."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from foreign_kafka import PASSWORD, ForeignKafka, avro_bytes, nobody, read, to_the_end
from trunkline.connectors.base import Batch, Position
from trunkline.connectors.kafka import KafkaCluster, KafkaSource
from trunkline.errors import ConfigurationError, SourceError
from trunkline.event import Record
from trunkline.schemas.registry import Registry


@pytest.fixture
def foreign(bootstrap: str) -> ForeignKafka:
    return ForeignKafka(bootstrap)


def source(of: ForeignKafka, *topics: str, registry: str = "", **options: Any) -> KafkaSource:
    cluster = KafkaCluster(of.bootstrap, registry=registry)
    return KafkaSource(cluster, topics, **{"interval": "200ms", **options})


def numbers(records: list[Record]) -> list[int]:
    return [record.data["n"] for record in records]


def refusal(of: KafkaSource, position: Position) -> str:
    """Why the source stops at a position before it gives out any record."""
    with pytest.raises(ConfigurationError) as refused:
        read(of, position, until=lambda records, batch: records)
    return str(refused.value)


def test_thousands_of_records_come_once_and_in_the_order_of_their_keys(
    foreign: ForeignKafka,
) -> None:
    topic = foreign.create(partitions=3)
    foreign.put_many(topic, [(f"k{n % 50}", {"n": n}) for n in range(6000)])
    first, position = read(
        source(foreign, topic, batch=700), until=lambda records, _: len(records) >= 2000
    )
    rest, _ = read(source(foreign, topic, batch=700), position, until=to_the_end)
    by_key = defaultdict(list)
    for record in [*first, *rest]:
        by_key[record.key].append(record.data["n"])
    assert by_key == {f"k{k}": list(range(k, 6000, 50)) for k in range(50)}
    assert len({record.id for record in [*first, *rest]}) == 6000


def test_only_what_was_committed_and_markers_are_no_gap(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    for n, commit in ((1, True), (2, False), (3, True)):
        with foreign.transaction(commit=commit) as producer:
            producer.produce(topic, b'{"n": %d}' % n, b"k")
    records, position = read(source(foreign, topic), until=to_the_end)
    assert numbers(records) == [1, 3]
    # Behind the last marker: so retention of everything costs nothing that was not read.
    assert position["parts"][topic]["next"] == {"0": 6}
    foreign.delete_before(topic, 0, 6)
    foreign.put(topic, "k", {"n": 4})
    assert numbers(read(source(foreign, topic), position, until=to_the_end)[0]) == [4]


def test_a_transaction_that_is_open_is_waited_for(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    with foreign.transaction() as producer:
        producer.produce(topic, b'{"n": 1}', b"k")
        producer.flush(10)
        foreign.put(topic, "k", {"n": 2})
        records, position = read(source(foreign, topic), until=to_the_end)
        latest = read(source(foreign, topic, start="latest"), until=to_the_end)[1]
    assert records == []
    for begin in (position, latest):
        assert numbers(read(source(foreign, topic), begin, until=to_the_end)[0]) == [1, 2]


def test_a_topic_may_have_more_partitions_later(foreign: ForeignKafka) -> None:
    """While it is read, and while it is not: what went to a new one before it was seen, too."""
    topic = foreign.create()
    grown = threading.Event()

    def grow_and_read(records: list[Record], batch: Batch) -> bool:
        if batch.current and not grown.is_set():
            grown.set()
            foreign.grow(topic, 2)
            foreign.put(topic, "k", {"n": 1}, partition=1)
        return len(records) == 1

    records, position = read(source(foreign, topic), until=grow_and_read)
    foreign.grow(topic, 3)
    foreign.put(topic, "k", {"n": 2}, partition=2)
    more, position = read(
        source(foreign, topic, start="latest"), position, until=lambda r, b: r and b.current
    )
    assert numbers([*records, *more]) == [1, 2]
    assert position["parts"][topic]["next"] == {"0": 0, "1": 1, "2": 1}


def test_a_topic_that_is_not_there_yet_is_waited_for(foreign: ForeignKafka) -> None:
    there, later = foreign.create(), "later-" + foreign.create()
    foreign.put(there, "k", {"n": 1})
    _, position = read(source(foreign, there, later), until=lambda r, b: r and b.current)
    foreign.create(name=later)
    foreign.put(later, "k", {"n": 2})
    records, _ = read(
        source(foreign, there, later, start="latest"), position, until=lambda r, b: r and b.current
    )
    assert numbers(records) == [2], "from its first record on: it was asked for before"


def test_records_that_are_gone_before_they_were_read_stop_it(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    foreign.put(topic, "k", {"n": 0})
    _, position = read(source(foreign, topic), until=to_the_end)
    for n in range(1, 5):
        foreign.put(topic, "k", {"n": n})
    foreign.delete_before(topic, 0, 3)
    told = refusal(source(foreign, topic), position)
    assert "partition 0 up to 2 records from offset 1" in told
    assert "trunkline source reset" in told


def test_records_that_go_while_it_reads_stop_it(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    foreign.put(topic, "k", {"n": 0})
    with_gap: list[int] = []

    def fall_behind(records: list[Record], batch: Batch) -> bool:
        with_gap[:] = numbers(records)
        if batch.current and with_gap == [0]:
            assert reading._reader is not None
            client, here = reading._reader._client, TopicPartition(topic, 0, 1)
            client.pause([here])  # as behind a network that is slow
            foreign.put_many(topic, [("k", {"n": n}) for n in range(1, 41)])
            foreign.delete_before(topic, 0, 40)
            client.seek(here)
            client.resume([here])
        return False

    reading = source(foreign, topic)
    with pytest.raises(ConfigurationError, match="retention"):
        read(reading, until=fall_behind)
    assert with_gap == [0]


def anew(foreign: ForeignKafka, topic: str) -> None:
    foreign.delete(topic)
    for _ in range(100):  # Kafka deletes in the background
        try:
            foreign.create(name=topic)
            return
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            time.sleep(0.05)
    raise AssertionError("the topic could not be made again")


def test_a_topic_that_was_made_anew_stops_it(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    foreign.put(topic, "k", {"n": 1})
    _, position = read(source(foreign, topic), until=to_the_end)
    anew(foreign, topic)
    for n in range(5):  # also where offsets would fit
        foreign.put(topic, "k", {"n": n})
    assert "made anew" in refusal(source(foreign, topic), position)


def test_a_topic_that_is_made_anew_while_it_reads_stops_it(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    foreign.put(topic, "k", {"n": 1})
    done = threading.Event()

    def make_anew(records: list[Record], batch: Batch) -> bool:
        if batch.current and not done.is_set():
            done.set()
            anew(foreign, topic)
            foreign.put(topic, "k", {"n": 2})
        return False

    with pytest.raises(ConfigurationError, match=r"made anew|was deleted"):
        read(source(foreign, topic), until=make_anew)


def test_a_topic_that_was_deleted_stops_it(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    foreign.put(topic, "k", {"n": 1})
    _, position = read(source(foreign, topic), until=to_the_end)
    foreign.delete(topic)
    assert "was deleted" in refusal(source(foreign, topic), position)


def test_another_cluster_stops_it(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    foreign.put(topic, "k", {"n": 1})
    _, position = read(source(foreign, topic), until=to_the_end)
    told = refusal(source(foreign, topic), {**position, "cluster": "another"})
    assert "'another'" in told
    assert "another source's" in refusal(source(foreign, topic), {"lsn": "0/1"})


def test_it_can_begin_at_the_end(foreign: ForeignKafka) -> None:
    topic = foreign.create(partitions=2)
    foreign.put_many(topic, [(f"k{n}", {"n": n}) for n in range(20)])
    records, position = read(source(foreign, topic, start="latest"), until=to_the_end)
    assert records == []
    foreign.put(topic, "k", {"n": 20})
    assert numbers(read(source(foreign, topic), position, until=to_the_end)[0]) == [20]


def test_it_leaves_no_group_and_no_offset(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    foreign.put(topic, "k", {"n": 1})
    read(source(foreign, topic), until=to_the_end)
    groups = foreign._admin.list_consumer_groups().result().valid
    assert not [group.group_id for group in groups if "trunkline-reader" in group.group_id]


ITEM = {
    "type": "record",
    "name": "ForeignItem",
    "fields": [
        {"name": "n", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
KEY = {"type": "record", "name": "K", "fields": [{"name": n, "type": "int"} for n in ("a", "b")]}


@pytest.fixture
def registry(registry_url: str) -> Iterator[Registry]:
    with Registry(registry_url) as client:
        yield client


def test_avro_of_its_own_registry(foreign: ForeignKafka, registry: Registry) -> None:
    from datetime import UTC, datetime

    topic = foreign.create()
    at = datetime(2024, 2, 29, tzinfo=UTC)
    key = avro_bytes(registry, f"{topic}-key", KEY, {"a": 1, "b": 2})
    foreign.put(topic, key, avro_bytes(registry, f"{topic}-value", ITEM, {"n": 1, "at": at}))
    foreign.put(topic, key, None)
    foreign.put(topic, key, b"\x00\x7f\xff\xff\x00\x02")  # of a schema that nobody registered
    foreign.put(topic, key, b"no avro")
    reading = source(foreign, topic, registry=registry.url, value="avro", key="avro")
    (first, gone, *bad), _ = read(reading, until=to_the_end)
    assert (first.key, first.data) == ('["1","2"]', {"n": 1, "at": at})
    assert (gone.key, gone.change, gone.data) == ('["1","2"]', "delete", {"a": 1, "b": 2})
    assert [one.unreadable.raw for one in bad if one.unreadable] == [
        b"\x00\x7f\xff\xff\x00\x02",
        b"no avro",
    ]


def test_a_registry_that_is_away_passes_over_nothing(
    foreign: ForeignKafka, registry: Registry
) -> None:
    topic = foreign.create()
    foreign.put(topic, "k", None)
    value = avro_bytes(registry, f"{topic}-value", {"type": "map", "values": "int"}, {"n": 1})
    foreign.put(topic, "k", value)
    given: list[Batch] = []
    away = source(foreign, topic, registry="http://127.0.0.1:9", value="avro")
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9"):
        read(away, until=lambda records, batch: given.append(batch))
    (records, position) = given[-1].records, given[-1].position
    assert [record.change for record in records] == ["delete"], "what came before is given out"
    back = source(foreign, topic, registry=registry.url, value="avro")
    assert [r.data for r in read(back, position, until=to_the_end)[0]] == [{"n": 1}]


@pytest.mark.parametrize(
    ("options", "key", "value", "record"),
    [
        ({}, "k", b"[1, 2]", ("k", {"value": [1, 2]})),
        ({}, "k", b'{"x": 0.12345678901234567890}', ("k", None)),
        ({}, "k", b'\x00\x00\x00\x00\x07{"a": 1}', ("k", {"a": 1})),
        ({"value": "text"}, "k", "héllo".encode(), ("k", {"value": "héllo"})),
        ({"value": "bytes", "key": "hex"}, b"\xff", b"\x00\x01", ("ff", {"value": b"\x00\x01"})),
        ({"key": "int"}, (7).to_bytes(8, "big"), b"{}", ("7", {})),
        ({"key": "json"}, '{"a": 1, "b": "x"}', b"{}", ('["1","x"]', {})),
        ({"key": "json"}, '"a"', b"{}", ("a", {})),
        ({}, None, b"{}", ("", {})),
    ],
)
def test_forms_of_keys_and_values(
    foreign: ForeignKafka, options: Any, key: Any, value: bytes, record: Any
) -> None:
    topic = foreign.create()
    foreign.put(topic, key, value)
    (found,), _ = read(source(foreign, topic, **options), until=to_the_end)
    assert found.unreadable is None
    if record[1] is None:
        assert str(found.data["x"]) == "0.12345678901234567890", "no digit is lost"
    else:
        assert (found.key, found.data) == record


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ({}, b"\xff", b"{}"),
        ({}, "k", b"{"),
        ({}, "k", b""),
        ({"value": "text"}, "k", b"\xff"),
        ({"key": "int"}, "abc", b"{}"),
        ({"key": "json"}, '{"a": null}', b"{}"),
        ({"key": "json"}, "{}", b"{}"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_bytes_and_the_rest_is_read(
    foreign: ForeignKafka, options: Any, key: Any, value: bytes
) -> None:
    topic = foreign.create()
    foreign.put(topic, key, value)
    foreign.put(topic, None, b"7" if options.get("value") == "text" else b'{"n": 7}')
    (bad, good), _ = read(source(foreign, topic, **options), until=to_the_end)
    assert bad.unreadable is not None
    assert (bad.unreadable.raw, bad.place) == (value, f"{topic}/0/0")
    assert good.unreadable is None


def test_headers_and_the_trace_go_along(foreign: ForeignKafka) -> None:
    topic = foreign.create()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    foreign.put(topic, "k", {"n": 1}, headers=[("traceparent", trace.encode()), ("a", b"1")])
    foreign.put(topic, "k", {"n": 1}, headers=[("traceparent", b"nonsense")])
    reading = source(foreign, topic, headers_field="headers")
    (first, second), _ = read(reading, until=to_the_end)
    assert first.traceparent == trace
    assert first.data == {"n": 1, "headers": {"traceparent": trace, "a": "1"}}
    assert second.traceparent == ""


def test_check_tells_what_is_not_there(
    foreign: ForeignKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = foreign.create()
    findings = source(foreign, topic, "nowhere").check()
    assert [finding.what for finding in findings] == [
        f"there is no topic 'nowhere' at {foreign.bootstrap}"
    ]
    monkeypatch.setattr("trunkline.connectors.kafka.topics.PATIENCE", 2.0)
    with pytest.raises(SourceError) as refused:
        KafkaSource(nobody(), "t").check()
    assert PASSWORD not in str(refused.value)
    assert "TRUNKLINE" not in str(refused.value), "that is for our own cluster"
