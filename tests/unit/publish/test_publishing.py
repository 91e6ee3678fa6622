"""Publishing without a broker: records become canonical events, or dead letters of their source."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from trunkline import Record
from trunkline.errors import DataError, SerializationError
from trunkline.event import Unreadable
from trunkline.kafka import MAX_VALUE, ProducerRecord
from trunkline.streams.publish.publisher import Publisher, TopicMapping

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


def encode(data: Any) -> bytes:
    return b"encoded:" + json.dumps(data).encode()


def output(topic: str = "orders", **changes: Any) -> TopicMapping:
    given: dict[str, Any] = {"function": lambda record: record.data, "encode": encode}
    return TopicMapping(topic, **{**given, **changes})


def record(**changes: Any) -> Record:
    given: dict[str, Any] = {
        "key": "7",
        "data": {"id": 7},
        "stream": "public.orders",
        "id": "lsn-1",
        "time": NOON,
        "traceparent": TRACE,
    }
    return Record(**{**given, **changes})


def published(*records: Record, outputs: list[TopicMapping]) -> tuple[list[ProducerRecord], int]:
    publisher = Publisher("/shop/db", "shop.db.dlq", outputs, "v1")
    result = publisher.publish(records)
    assert result.published == len(result.records) - result.dead
    return result.records, result.dead


def only(
    made: tuple[list[ProducerRecord], int],
) -> tuple[str, bytes | None, bytes | None, dict[str, bytes]]:
    ((topic, key, value, headers),) = made[0]
    assert len(dict(headers)) == len(headers), "a header stands twice"
    return topic, key, value, dict(headers)


def test_a_record_becomes_a_canonical_event() -> None:
    topic, key, value, headers = only(published(record(change="update"), outputs=[output()]))
    assert (topic, key, value) == ("orders", b"7", b'encoded:{"id": 7}')
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"lsn-1",
        "ce_source": b"/shop/db",
        "ce_type": b"orders.update",
        "ce_time": b"2024-02-29T12:00:00+00:00",
        "ce_subject": b"public.orders",
        "content-type": b"application/vnd.confluent.avro",
        "traceparent": TRACE.encode(),
        "tl_change": b"update",
    }


def test_records_stay_in_order_and_none_drops_one() -> None:
    records = [record(key=str(n), data={"n": n}) for n in range(4)]
    odd = output(function=lambda one: one.data if one.data["n"] % 2 else None)
    made, dead = published(*records, outputs=[odd])
    assert [out[1] for out in made] == [b"1", b"3"]
    assert dead == 0


def test_each_topic_takes_its_streams() -> None:
    outputs = [
        output("orders", streams=("public.orders",)),
        output("people", streams=("public.people", "public.staff")),
        output("audit"),
    ]
    made, _ = published(record(), record(stream="public.staff"), outputs=outputs)
    assert [out[0] for out in made] == ["orders", "audit", "people", "audit"]


@pytest.mark.parametrize("change", ["create", "delete", "truncate"])
def test_a_record_that_no_topic_takes_is_a_dead_letter(
    change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a table that a topic misspells: nothing is passed over without a trace."""
    misspelt = [output(streams=("public.ordres",)), output("people", streams=("public.people",))]
    made, dead = published(record(change=change), record(stream="public.people"), outputs=misspelt)
    assert ([out[0] for out in made], dead) == (["shop.db.dlq", "people"], 1)
    said = dict(made[0].headers)["tl_error"].decode()
    assert said.startswith("no topic takes the records of 'public.orders': name it in stream=")
    assert said in caplog.text


def test_a_record_that_a_topic_leaves_out_is_none_that_nobody_takes() -> None:
    assert published(record(), outputs=[output(function=lambda one: None)]) == ([], 0)


def test_what_is_left_out_is_counted_by_topic() -> None:
    odd = output(function=lambda one: one.data if one.data["id"] % 2 else None)
    none = output("people", function=lambda one: None)
    publisher = Publisher("/shop/db", "shop.db.dlq", [odd, none, output("all")])
    records = [record(data={"id": n}) for n in range(4)]
    records.append(record(change="delete"))  # calls no function
    result = publisher.publish(records)
    assert result.left_out == {"orders": 2, "people": 4}
    assert (result.published, result.dead) == (2 + 4 + 3, 0)


@pytest.mark.parametrize("change", ["create", "delete", "truncate"])
def test_a_stream_that_is_ignored_is_left_out_and_counted(change: Any) -> None:
    takes_all = output()
    publisher = Publisher("/shop/db", "shop.db.dlq", [takes_all], ignored=["public.audit_log"])
    result = publisher.publish([record(stream="public.audit_log", change=change), record()])
    assert [out[0] for out in result.records] == ["orders"]
    assert (result.left_out, result.dead) == ({"": 1}, 0)


def test_what_cannot_be_read_of_a_stream_that_is_ignored_is_left_out_too() -> None:
    publisher = Publisher("/shop/db", "shop.db.dlq", [output()], ignored=["public.audit_log"])
    bad = Unreadable(DataError("no CSV"), b"x")
    records = [record(stream=name, unreadable=bad) for name in ("public.audit_log", "public.a")]
    result = publisher.publish(records)
    assert (result.left_out, result.dead) == ({"": 1}, 1)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, b"orders.create"),
        ("order.changed", b"order.changed"),
        (lambda data: f"order.{data['id']}", b"order.7"),
    ],
)
def test_the_type_is_named_or_made_of_the_value(named: Any, expected: bytes) -> None:
    *_, headers = only(published(record(), outputs=[output(event_type=named)]))
    assert headers["ce_type"] == expected


def test_a_delete_is_its_key_alone_and_calls_nobody() -> None:
    def never(anything: Any) -> Any:
        raise AssertionError("called for a delete")

    topic = output(function=never, event_type=never)
    gone = record(change="delete", data={"id": 7})
    name, key, value, headers = only(published(gone, outputs=[topic]))
    assert (name, key, value) == ("orders", b"7", None)
    assert (headers["ce_type"], headers["tl_change"]) == (b"orders.delete", b"delete")


def test_the_key_may_be_a_function_of_the_record() -> None:
    topic = output(key=lambda one: f"order-{one.data['id']}")
    for change in ("create", "delete"):
        assert only(published(record(change=change), outputs=[topic]))[1] == b"order-7"


def test_a_truncate_stands_under_its_tables_name() -> None:
    *_, key, value, headers = only(
        published(record(key="", change="truncate", data={}), outputs=[output()])
    )
    assert (key, value) == (b"public.orders", None)
    assert headers["tl_change"] == b"truncate"


def raises(error: Exception) -> Any:
    def function(*_: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ({"function": raises(KeyError("cents"))}, b"KeyError"),
        ({"encode": raises(SerializationError("cents is text"))}, b"SerializationError"),
        ({"encode": lambda data: bytes(MAX_VALUE + 1)}, b"DataError"),
        ({"key": lambda one: ""}, b"DataError"),
        ({"key": raises(KeyError("id"))}, b"KeyError"),
        ({"event_type": raises(KeyError("status"))}, b"KeyError"),
    ],
    ids=["function", "encode", "size", "no key", "key", "type"],
)
def test_what_is_refused_is_a_dead_letter_of_the_source(
    broken: dict[str, Any], name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made = published(record(), record(id="lsn-2"), outputs=[output(**broken)])
    assert made[1] == 2
    topic, key, value, headers = only((made[0][:1], 1))
    assert (topic, key) == ("shop.db.dlq", b"7")
    assert orjson.loads(value or b"")["data"] == {"id": 7}
    assert (headers["ce_id"], headers["traceparent"]) == (b"lsn-1", TRACE.encode())
    assert headers["tl_stage"] == b"publish"
    assert headers["content-type"] == b"application/json"
    assert headers["tl_error_class"] == name
    assert headers["tl_dead_from"] == b"public.orders"
    assert headers["tl_flow_version"] == b"v1"
    (line,) = caplog.records
    assert line.message.startswith(
        "2 records cannot be mapped, for the dead letters of shop.db.dlq"
    )
    assert line.event_id == "lsn-2"  # type: ignore[attr-defined]
    assert line.trace_id == TRACE.split("-")[1]  # type: ignore[attr-defined]


def test_one_refused_record_stops_no_other_and_no_other_topic() -> None:
    picky = output("picky", encode=raises(SerializationError("no")))
    made, dead = published(record(), record(), outputs=[output(), picky])
    assert [out[0] for out in made] == ["orders", "shop.db.dlq"] * 2
    assert dead == 2


def test_any_row_can_be_written_as_a_dead_letter() -> None:
    """As one with a number beyond 64 bits, or with half of a surrogate pair."""
    rows = [{"raw": b"\x00\xff", "when": NOON, 7: "number"}, {"big": 2**70}, {"half": "\ud800"}]
    for row in rows:
        refusing = output(function=raises(ValueError("no")))
        made = published(record(key="half \ud800", data=row), outputs=[refusing])
        assert json.loads(only(made)[2] or b"")["data"].keys() == {str(name) for name in row}


def test_a_row_that_is_nested_deeper_than_python_writes_is_a_dead_letter_too() -> None:
    """Else it would stop the source at each start."""
    deep = b'{"a":' + b"[" * 1000 + b"{},1,null" + b"]" * 1000 + b"}"
    refused = output(function=lambda record: record.data["missing"])
    _, _, value, _ = only(published(record(data=orjson.loads(deep)), outputs=[refused]))
    assert value is not None
    assert b'"data":' + deep in value
    assert orjson.loads(value)["time"] == str(NOON)


def test_what_a_source_cannot_read_is_one_dead_letter_with_its_raw_bytes() -> None:
    def never(anything: Any) -> Any:
        raise AssertionError("called for what could not be read")

    bad = Unreadable(DataError("3 fields where the header has 4"), b"a,\xff,c\r\n")
    line = record(key="", data={}, unreadable=bad, place="orders.csv:17")
    outputs = [output("orders", function=never, key=never), output("audit", function=never)]
    made = published(line, outputs=outputs)
    assert made[1] == 1, "once, however many topics take it"
    topic, key, value, headers = only(made)
    assert (topic, key, value) == ("shop.db.dlq", b"", b"a,\xff,c\r\n")
    assert (headers["tl_dead_from"], headers["tl_stage"]) == (b"orders.csv:17", b"publish")
    assert headers["content-type"] == b"application/octet-stream"
    assert headers["tl_error"] == b"3 fields where the header has 4"


def test_the_dead_letter_of_a_refused_record_tells_its_place() -> None:
    refused = record(place="orders.csv:18")
    *_, headers = only(published(refused, outputs=[output(function=raises(KeyError("cents")))]))
    assert headers["tl_dead_from"] == b"orders.csv:18"
