"""The answer of a call as an event of another flow, as the documentation shows it."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path

import pytest

from docs_pages import blocks
from gateway_kit import World, order
from trunkline.connectors.kafka import KafkaCluster, KafkaSource
from trunkline.event import Record
from trunkline.naming import calls
from trunkline.streams.flow.loading import load
from trunkline.testing import FlowTest

pytestmark = pytest.mark.timeout(400)
PATIENCE = 60.0


def test_a_flow_takes_the_end_of_a_call_as_an_event(world: World, tmp_path: Path) -> None:
    """And nothing else that the topic says: that it was accepted, and other operations."""
    id_ = uuid.uuid4().hex[:12]
    assert world.callers[0].post("correct_order", order(id_), key=id_).status_code == 200
    assert world.callers[0].post("ship_order", order(id_), key=id_).status_code == 200
    told = _of(world, id_)
    (block,) = [one for one in blocks("python") if one.title == "erp_answers.py"]
    file = tmp_path / "erp_answers.py"
    file.write_text(block.text)
    flow = load(str(file))
    (source,), (warehouse,), (topic,) = flow.sources, flow.destinations, flow.topics
    with FlowTest(flow) as test:
        for record in told:
            test.read(source, record)
        test.run_until_idle()
        arrived = test.destination(warehouse).delivered
        assert [one.data for one in arrived] == [{"order_id": id_}]
        assert arrived[0].event.key == id_
        assert test.left_out(topic) == len(told) - 1 >= 3


def _of(world: World, entity: str) -> list[Record]:
    """What the topic of calls says of an entity, until both of its calls are over."""
    cluster, found = KafkaCluster(world.backbone.bootstrap), list[Record]()
    source, stop = KafkaSource(cluster, [calls(world.flow, "erp")]), threading.Event()
    until = time.monotonic() + PATIENCE
    try:
        for batch in source.read(None, stop):
            found += [one for one in batch.records if one.data.get("key") == entity]
            if sum(one.data["state"] == "succeeded" for one in found) == 2:
                return found
            assert time.monotonic() < until, found
    finally:
        stop.set()
        source.close()
    raise AssertionError(found)
