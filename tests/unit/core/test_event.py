"""The canonical event: its attributes are headers, its value is decoded once."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline import Event, Record
from trunkline.errors import NoData
from trunkline.event import event_headers, new_traceparent, replaced

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def event(
    value: bytes | None = b"-", headers: list[tuple[str, bytes]] | None = None, **more: Any
) -> Event[Any]:
    return Event(key="17", value=value, headers=headers or [], decode=bytes.upper, **more)


def test_a_records_attributes_become_headers_and_come_back() -> None:
    record = Record(
        key="17", data={}, change="update", stream="public.orders", id="0/16B3748-1", time=AT
    )
    headers = event_headers(record, source="orders/shop", type="order.paid")
    seen = event(headers=headers)
    assert (seen.id, seen.type, seen.source) == ("0/16B3748-1", "order.paid", "orders/shop")
    assert (seen.subject, seen.time, seen.change) == ("public.orders", AT, "update")
    assert seen.header("ce_specversion") == "1.0"
    assert seen.header("content-type") == "application/vnd.confluent.avro"


def test_each_header_stands_once() -> None:
    names = [name for name, _ in event_headers(Record(key="1", data={}), source="s", type="t")]
    assert len(names) == len(set(names))
    assert "ce_subject" not in names  # CloudEvents: an attribute is not empty


def test_a_record_of_its_own_gets_an_id_and_a_time() -> None:
    one, other = Record(key="1", data={}), Record(key="1", data={})
    assert one.id != other.id
    assert one.time.tzinfo is UTC


def test_a_trace_goes_on_or_begins() -> None:
    parent = new_traceparent()
    went_on = event_headers(Record(key="1", data={}, traceparent=parent), source="s", type="t")
    began = event_headers(Record(key="1", data={}), source="s", type="t")
    assert event(headers=went_on).traceparent == parent
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", event(headers=began).traceparent)


def test_what_no_header_says() -> None:
    bare = event()
    assert (bare.id, bare.type, bare.subject, bare.traceparent) == ("", "", "", "")
    assert bare.change == "create"


def test_the_value_is_decoded_when_it_is_first_read_and_once() -> None:
    calls: list[bytes] = []

    def decode(value: bytes) -> dict[str, int]:
        calls.append(value)
        return {"id": 17}

    seen = Event(key="17", value=b"raw", headers=[], decode=decode)
    assert calls == []
    assert seen.data is seen.data
    assert calls == [b"raw"]


def test_an_event_knows_its_own_data() -> None:
    seen = event(b"abc")
    assert not seen.is_own(None)
    assert seen.is_own(seen.data)
    assert not seen.is_own(bytes(bytearray(seen.data)))


def test_a_delete_has_a_key_and_no_data() -> None:
    gone = event(None, [("tl_change", b"delete")])
    assert gone.change == "delete"
    with pytest.raises(NoData, match="the delete of '17' carries only its key"):
        _ = gone.data


def test_a_header_that_is_not_utf8_stops_nothing() -> None:
    assert event(headers=[("ce_type", b"order.\xff")]).type == "order.\ufffd"


def test_the_last_of_several_headers_of_a_name_counts() -> None:
    assert event(headers=[("ce_id", b"1"), ("ce_id", b"2")]).id == "2"


def test_replaced_headers_are_not_appended() -> None:
    headers = [("a", b"1"), ("b", b"2"), ("a", b"3")]
    assert replaced(headers, {"a": b"4", "c": b"5"}) == [("b", b"2"), ("a", b"4"), ("c", b"5")]
    assert headers == [("a", b"1"), ("b", b"2"), ("a", b"3")]


def test_it_shows_where_it_stands_and_nothing_of_its_value() -> None:
    seen = event(b"hush", [("ce_type", b"order.paid"), ("ce_id", b"7")], topic="t", offset=9)
    assert repr(seen) == "Event(order.paid '17' id=7 t/0/9)"


@pytest.mark.parametrize(
    ("topic", "header", "sequence", "inbox"),
    [
        ("orders.erp.inbox", "", 7, "orders.erp.inbox"),
        ("orders.erp.inbox", "3", 7, "orders.erp.inbox"),  # of another place: put there by hand
        ("orders.erp.retry.10s", "3", 3, "orders.erp.inbox"),
        ("orders.erp.retry.1.5s", "3", 3, "orders.erp.inbox"),
        ("shop.orders", "", 7, "shop.orders"),
    ],
)
def test_an_event_keeps_its_inbox_and_its_offset_there(
    topic: str, header: str, sequence: int, inbox: str
) -> None:
    headers = [("tl_seq", header.encode())] if header else []
    event = Event(key="k", value=b"", headers=headers, decode=bytes, topic=topic, offset=7)
    assert (event.sequence, event.inbox) == (sequence, inbox)
