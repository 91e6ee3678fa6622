"""The control topic, the audit and the commands that write them, on a real Kafka."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from engine_kit import PATIENCE, eventually
from tests.kits.control_kit import put_control
from trunkline import kafka
from trunkline.admin.audit import read_audit
from trunkline.cli import app
from trunkline.errors import ConfigurationError
from trunkline.local.kafka import Kafka
from trunkline.local.ports import free_port
from trunkline.local.process import Child
from trunkline.params import Backbone
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.streams.control import audit, kafka_topic
from trunkline.streams.control import topic as control
from trunkline.streams.control.kafka_topic import KafkaControl, read_control
from trunkline.streams.control.status import DestinationStatus
from trunkline.times import iso

KEY = "destination/erp"


@pytest.fixture
def backbone(bootstrap: str) -> Backbone:
    return Backbone(bootstrap=bootstrap, kafka={"fetch.wait.max.ms": "20"})


@pytest.fixture
def flow(backbone: Backbone, topic: Callable[[str], str]) -> str:
    """A flow that has one destination, ``erp``, as its topics tell."""
    name = topic("control")
    inbox = kafka.TopicSpec(f"{name}.erp.inbox", 1)
    kafka.ensure_topics(backbone, [inbox, control.control_topic(name)])
    return name


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An async test as pytest can call it."""

    @wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(test(*arguments, **fixtures))

    return run


@asynccontextmanager
async def followed(backbone: Backbone, flow: str) -> AsyncIterator[KafkaControl]:
    """A worker's view of the flow's control topic."""
    follower = KafkaControl(backbone, f"{flow}.control")
    await asyncio.wait_for(follower.start(), PATIENCE)
    try:
        yield follower
        assert follower.failure is None
    finally:
        await asyncio.wait_for(follower.stop(), PATIENCE)


@pytest.fixture
def command(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``trunkline`` with these arguments; returns what it prints, raises what it raises."""
    monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", bootstrap)

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None:
            raise result.exception
        return result.output

    return invoke


@in_a_loop
async def test_a_pause_is_seen_by_all_workers_and_survives_their_restart(
    backbone: Backbone, flow: str, command: Callable[..., str]
) -> None:
    async with followed(backbone, flow) as one, followed(backbone, flow) as other:
        assert one.state == other.state == {}
        shown = await asyncio.to_thread(
            command, "destination", "pause", f"{flow}.erp", "--for", "2h", "--why", "upgrade"
        )
        await eventually(lambda: one.state and other.state, "both see it")
        assert one.state == other.state
    async with followed(backbone, flow) as restarted:
        given = OverrideRecord.of(restarted.state[KEY])
        assert given.in_force(time.time()) == "paused"
        assert given.in_force(time.time() + 7200) == "auto"
        assert (
            shown
            == f"{flow}.erp: paused until {given.until}, by {audit.who()} at {given.at}"
            + (": upgrade\n")
        )
        await asyncio.to_thread(command, "destination", "resume", f"{flow}.erp", "--force")
        await eventually(lambda: restarted.state[KEY]["state"] == "forced", "it is forced")
        await asyncio.to_thread(command, "destination", "resume", f"{flow}.erp")
        await eventually(lambda: restarted.state[KEY]["state"] == "auto", "it is resumed")


@in_a_loop
async def test_all_see_the_same_changes_in_the_same_order(backbone: Backbone, flow: str) -> None:
    seen: dict[str, list[Any]] = {"one": [], "other": []}
    async with followed(backbone, flow) as one, followed(backbone, flow) as other:
        one.subscribe("k", lambda key, value: seen["one"].append((key, value)))
        other.subscribe("k", lambda key, value: seen["other"].append((key, value)))
        await asyncio.gather(
            *(one.put("k", {"one": n}) for n in range(50)),
            *(other.put("k", {"other": n}) for n in range(50)),
        )
        await one.put("k", None)
        await eventually(lambda: len(seen["one"]) == len(seen["other"]) == 101, "all are back")
        assert one.state == other.state == {}
    assert seen["one"] == seen["other"]
    for writer in ("one", "other"):
        own = [value[writer] for _, value in seen["one"] if value and writer in value]
        assert own == list(range(50)), "what is put first comes first"


@in_a_loop
async def test_a_start_waits_for_what_an_open_transaction_hides(
    backbone: Backbone, flow: str
) -> None:
    """A pause behind a record of a dead worker's transaction must not be overlooked."""
    topic = f"{flow}.control"
    producer = kafka.producer(backbone, transactional_id=flow)
    await asyncio.to_thread(producer.init_transactions, 30)
    put_control(backbone, topic, {"before": {}})
    producer.begin_transaction()
    kafka.produce(producer, [control.control_record(topic, "undone", {})])
    await asyncio.to_thread(producer.flush)
    put_control(backbone, topic, {KEY: {"state": "paused"}})
    follower = KafkaControl(backbone, topic)
    starting = asyncio.create_task(follower.start())
    await eventually(lambda: follower.state, "what stands before is read")
    done, _ = await asyncio.wait([starting], timeout=0.5)
    assert not done
    await asyncio.to_thread(producer.abort_transaction)
    await asyncio.wait_for(starting, PATIENCE)
    assert follower.state == {"before": {}, KEY: {"state": "paused"}}
    await follower.stop()


@in_a_loop
async def test_what_is_no_json_object_is_skipped_and_named(
    backbone: Backbone, flow: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"{flow}.erp.inbox"  # a compacted one takes no record without a key
    producer = kafka.producer(backbone)
    bad = [(b"k", b"{"), (b"k", b"[1]"), (None, b"{}"), (b"\xff", b"{}")]
    kafka.produce(producer, [(topic, key, value, []) for key, value in bad])
    assert producer.flush(PATIENCE) == 0
    put_control(backbone, topic, {"good": {"x": 1}})
    follower = KafkaControl(backbone, topic)
    await asyncio.wait_for(follower.start(), PATIENCE)
    await follower.stop()
    assert follower.state == read_control(backbone, topic) == {"good": {"x": 1}}
    for offset in range(len(bad)):
        line = f"the control record {topic}/0/{offset} is skipped"
        assert caplog.text.count(line) == 2, "once for each reader"


def test_a_topic_that_is_not_there_is_an_empty_state(backbone: Backbone, flow: str) -> None:
    assert read_control(backbone, f"{flow}.nothing") == {}
    assert read_audit(backbone, f"{flow}.nothing") == []


class Broker:
    """A Kafka of this test's own."""

    def __init__(self, home: Path) -> None:
        self._server = Kafka(home, free_port())
        self.address = self._server.address
        self._server.prepare()

    def up(self) -> None:
        self._child = Child(self._server.command())
        self._child.wait_ready()

    def kill(self) -> None:
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.stop()

    def stop(self) -> None:
        self._child.stop()


@pytest.fixture
def broker(server_home: Path, flow: str) -> Iterator[Broker]:
    own = Broker(server_home / flow)
    own.up()
    yield own
    own.stop()


@in_a_loop
async def test_it_survives_the_broker(broker: Broker, topic: Callable[[str], str]) -> None:
    """Also one that is put while the broker is away is written, and seen when it is back."""
    backbone, flow = Backbone(bootstrap=broker.address), topic("control")
    kafka.ensure_topics(backbone, [control.control_topic(flow)])
    async with followed(backbone, flow) as one, followed(backbone, flow) as other:
        await one.put("before", {})
        await asyncio.to_thread(broker.kill)
        putting = asyncio.create_task(one.put("away", {}))
        await asyncio.to_thread(broker.up)
        await asyncio.wait_for(putting, PATIENCE)
        await other.put("after", {})
        everything: dict[str, Any] = {"before": {}, "away": {}, "after": {}}
        await eventually(lambda: one.state == other.state == everything, "all is seen")


@in_a_loop
async def test_a_worker_that_ends_without_kafka_gives_up_what_it_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_topic, "STOP_TIMEOUT", 0.0)
    alone = KafkaControl(Backbone(bootstrap="127.0.0.1:1"), "nowhere.control")
    putting = asyncio.create_task(alone.put("k", {}))
    starting = asyncio.create_task(alone.start())
    await asyncio.sleep(0)
    starting.cancel()
    await alone.stop()
    with pytest.raises(kafka.KafkaUnavailable, match="could not be written"):
        await putting


@in_a_loop
async def test_what_workers_tell_is_shown(
    backbone: Backbone, flow: str, command: Callable[..., str]
) -> None:
    async with followed(backbone, flow) as worker, member(backbone, f"{flow}.erp"):
        own = DestinationStatus(worker, "erp", "w1")
        own.report({"state": "half-open", "lag": 12, "waiting": 3})
        await worker.put("status/erp/w0", {"state": "open", "at": iso(time.time() - 300)})
        await eventually(lambda: len(worker.state) == 2, "both are told")
        text = await asyncio.to_thread(command, "destination", "status", f"{flow}.erp", "--json")
        table = await asyncio.to_thread(command, "destination", "status", f"{flow}.erp")
        await own.stop()
        await eventually(lambda: len(worker.state) == 1, "it takes its record away")
    shown = orjson.loads(text)
    assert (shown["destination"], shown["command"], shown["running"]) == (f"{flow}.erp", None, 1)
    told = [(w["worker"], w["state"], w["lag"], w["waiting"]) for w in shown["workers"]]
    assert told == [("w0", "open", None, None), ("w1", "half-open", 12, 3)]
    assert [worker["stale"] for worker in shown["workers"]] == [True, False]
    assert "auto (nothing is commanded)" in table
    assert "half-open" in table
    assert "stale" in table


@asynccontextmanager
async def member(backbone: Backbone, group: str) -> AsyncIterator[None]:
    """A consumer that is in the group."""
    consumer = kafka.consumer(backbone, group)
    consumer.subscribe([f"{group}.inbox"])
    while not consumer.assignment():
        await asyncio.to_thread(consumer.consume, 1, 0.1)
    yield
    await asyncio.to_thread(consumer.close)


def test_a_destination_that_nobody_paused_is_auto(flow: str, command: Callable[..., str]) -> None:
    shown = orjson.loads(command("destination", "status", f"{flow}.erp", "--json"))
    assert shown.pop("backlog") == {"inbox": 0, "retries": 0, "exact": True}
    assert shown.pop("routing") == []
    assert shown == {"destination": f"{flow}.erp", "command": None, "running": 0, "workers": []}
    assert "events wait in the inbox" in command("destination", "status", f"{flow}.erp")


def test_each_command_is_in_the_audit(
    backbone: Backbone, flow: str, command: Callable[..., str]
) -> None:
    assert "nothing was done" in command("audit", flow)
    command("destination", "pause", f"{flow}.erp", "--why", "upgrade")
    command("destination", "resume", f"{flow}.erp")
    first, second = read_audit(backbone, flow)
    assert (first.what, first.on, first.why, first.who) == ("pause", "erp", "upgrade", audit.who())
    assert first.more == {"state": "paused", "until": None}
    assert (second.what, second.more["state"]) == ("resume", "auto")
    assert first.id != second.id
    shown = orjson.loads(command("audit", flow, "--json"))
    assert [(one["what"], one["why"]) for one in shown] == [("pause", "upgrade"), ("resume", "")]
    assert "upgrade" in command("audit", flow)


def test_a_destination_that_is_not_there_is_refused_and_those_that_are_are_named(
    backbone: Backbone, flow: str, command: Callable[..., str]
) -> None:
    for what in ("pause", "resume", "status"):
        with pytest.raises(ConfigurationError, match=rf"no topic '{flow}.crm.inbox'.*{flow}\.erp"):
            command("destination", what, f"{flow}.crm")
    assert read_control(backbone, f"{flow}.control") == {}


def test_missing_topics_are_named_where_none_may_be_created(
    flow: str, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_CREATE", "false")
    with pytest.raises(ConfigurationError, match=f"topics are missing: {flow}.audit"):
        command("destination", "pause", f"{flow}.erp")
