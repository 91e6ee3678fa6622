"""Routes that call an operation, through a real broker: each event one call, in order, whatever is
killed and however often the event comes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from gateway_kit import System
from trunkline import kafka
from trunkline.event import Record, event_headers
from trunkline.params import Backbone
from worker_kit import Feed, Workers, environ_of, eventually

pytestmark = pytest.mark.timeout(400)

FLOW = """
from trunkline import Call, Event, Flow, HttpRequest, Params, Retry
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order


class Env(Params):
    erp_url: str


flow = Flow("NAME", Env)
orders = flow.existing_topic("NAME.orders", Order)


@flow.destination(retry=Retry("1s", "2s"))
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink(env.erp_url, Order, timeout=5)


@flow.operation(to=erp, verb="correct", resource="orders", key="id")
def correct(call: Call[Order]) -> HttpRequest:
    return HttpRequest("PATCH", f"/orders/{call.data['id']}", json=call.data)


@flow.route(orders, to=correct)
def corrected(order: Event[Order]) -> Order:
    return order.data
"""
IDS = [f"o-{n}" for n in range(20)]


def test_each_event_is_one_call_in_its_order_through_kills(
    bootstrap: str, registry_url: str, tmp_path: Path, topic: Any
) -> None:
    name = topic("notes")
    file = tmp_path / "notes.py"
    file.write_text(FLOW.replace("NAME", name))
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    feed = Feed(backbone, f"{name}.orders")
    with System(delay=0.02) as erp:
        environ = environ_of(backbone, erp_url=erp.url)
        with Workers(file, tmp_path, environ) as workers:
            workers.started("route,deliver")
            # Each event twice, with one id: as a source does that was killed before it had noted
            # how far it was.
            producer = kafka.producer(backbone)
            for number in (1, 2, 3):
                records = [_event(feed, id_, number) for id_ in IDS]
                kafka.produce(producer, [*records, *records])
            assert producer.flush(30) == 0
            eventually(lambda: len(erp.seen) > 10, "some are called")
            workers.kill(workers.running[0])
            before = len(erp.seen)
            workers.started("route,deliver")
            eventually(lambda: len({one.key for one in erp.seen}) == 60, "all are called")
            time.sleep(1)
            workers.stop()
    # Only what had no answer, or whose answer was not committed yet, is asked again: of what comes
    # after the kill nothing.
    assert 0 <= len(erp.seen) - 60 <= before
    assert len({one.key for one in erp.seen[before:]}) == len(erp.seen) - before
    for id_ in IDS:
        done = [(one.body["total_cents"], one.key) for one in erp.of(id_)]
        first = list(dict.fromkeys(done))
        assert [number for number, _ in first] == [1, 2, 3]
        assert len({key for _, key in first}) == 3


def _event(feed: Feed, id_: str, number: int) -> Any:
    record = Record(key=id_, data={}, change="update", id=f"{id_}-{number}")
    headers = event_headers(record, source="/feed", type="order.paid")
    return feed.topic, id_.encode(), feed.value(id_, number), headers
