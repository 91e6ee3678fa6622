"""``status`` and ``events`` beside workers that run, whose system is down, and that were killed."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkline import kafka
from trunkline.admin import FlowFigures, TopicBrowser, Trouble, flow_figures, troubles
from trunkline.cli import app
from trunkline.errors import ConfigurationError
from trunkline.kafka.partitioner import partition_of_key
from trunkline.local.ports import free_port
from trunkline.params import Backbone
from worker_kit import Destination, Feed, Workers, environ_of, eventually

FLOW = Path(__file__).parents[1] / "kafka" / "locked_flow.py"


@pytest.fixture
def backbone(bootstrap: str, registry_url: str, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    monkeypatch.setenv("TRUNKLINE_BOOTSTRAP", bootstrap)
    monkeypatch.setenv("TRUNKLINE_REGISTRY", registry_url)
    return Backbone(bootstrap=bootstrap, registry=registry_url)


@dataclass
class World:
    """A flow whose source and routing run in one worker, its deliveries in another."""

    backbone: Backbone
    name: str
    folder: Path
    api: Destination
    workers: Workers

    def order(self, *keys: str) -> None:
        """A file of orders, which the source takes up."""
        lines = ["id,status,cents", *(f"{key},paid,1" for key in keys)]
        hidden = self.folder.parent / f"{uuid.uuid4().hex}.csv"
        hidden.write_text("\n".join(lines) + "\n")
        hidden.rename(self.folder / hidden.name)

    def figures(self) -> FlowFigures:
        (found,) = flow_figures(self.backbone, [self.name])
        return found

    def troubles(self, where: str = "") -> list[Trouble]:
        found = troubles(self.figures())
        return [one for one in found if one.where == f"{self.name}{where}"]

    def told(self, words: str, where: str = "") -> Trouble | None:
        """The trouble of which that is said."""
        return next((one for one in self.troubles(where) if words in one.what), None)


@pytest.fixture
def world(backbone: Backbone, tmp_path: Path) -> Iterator[World]:
    name, folder = f"look-{uuid.uuid4().hex[:8]}", tmp_path / "in"
    folder.mkdir()
    with Destination() as api:
        environ = environ_of(backbone, flow=name, folder=str(folder), api=api.url, retry="10m")
        with Workers(FLOW, tmp_path, {**environ, "TRUNKLINE_PARTITIONS": "2"}) as workers:
            workers.started("source,route", "deliver")
            yield World(backbone, name, folder, api, workers)


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_status_is_true_through_an_outage_and_without_workers(world: World) -> None:
    erp = f"{world.name}.erp"
    world.order("a")
    eventually(lambda: world.api.deliveries, "the first order is delivered")
    eventually(lambda: not troubles(world.figures()), "all is well")
    eventually(lambda: world.figures().sources[0].overview.status, "the source tells of itself")
    well = run("status", world.name)
    assert (well.exit_code, well.stdout.splitlines()[-1]) == (0, "all is well")
    figures = world.figures()
    assert figures.destinations[0].inbox.rate == pytest.approx(1 / 60)
    assert figures.routing is not None
    assert figures.routing.all.rate == pytest.approx(1 / 60)

    world.api.down()
    world.order("b", "c", "d")
    eventually(lambda: world.told("its system is down", ".erp"), "the outage is told")
    eventually(
        lambda: (t := world.told("its system is down", ".erp")) and "Unavailable" in t.what,
        "the outage is told with its reason",
    )
    down = run("status", world.name, "--json")
    assert down.exit_code == 2
    (flow,) = json.loads(down.stdout)["flows"]
    assert flow["destinations"][0]["inbox"]["waiting"] == 3
    assert flow["destinations"][0]["inbox"]["exact"] is True
    assert flow["troubles"][0]["since"]
    assert flow["troubles"][0]["mend"].startswith("mend its system")

    for worker in list(world.workers.running):
        world.workers.kill(worker)
    eventually(
        lambda: world.told("no worker delivers to it", ".erp"), "Kafka knows that it is gone"
    )
    eventually(lambda: world.told("no worker runs it", ".till"), "the source's too")
    eventually(lambda: world.told("no worker routes it"), "routing's too")
    alone = run("status", world.name)
    assert alone.exit_code == 2
    assert f"wrong: {erp}: no worker delivers to it; 3 events wait" in alone.stdout
    assert "--only deliver" in alone.stdout

    world.api.up()
    world.workers.started("source,route,deliver")
    eventually(lambda: len(world.api.deliveries) == 4, "all are delivered")
    # Not that all is well: what the killed worker has told counts for two minutes.
    eventually(lambda: not world.figures().destinations[0].inbox.waiting, "nothing waits")
    assert not world.told("no worker")


def test_what_waits_for_another_attempt_and_what_is_dead(world: World) -> None:
    world.api.status = 408
    world.order("late")
    eventually(lambda: world.api.refused, "the first attempt fails")
    eventually(lambda: world.figures().destinations[0].retries.waiting == 1, "it waits")
    retries = world.figures().destinations[0].retries
    assert retries.next_due is not None
    assert 300 < retries.next_due - time.time() < 900
    assert "408" in retries.error
    assert not troubles(world.figures()), "that it waits is no trouble"
    world.api.status = 422
    world.order("dead")
    dead = "1 dead letter that nobody has handled"
    eventually(lambda: world.told(dead, ".erp"), "the dead letter is told")
    trouble = world.told(dead, ".erp")
    assert trouble is not None
    assert not trouble.urgent
    assert "422" in trouble.what
    assert run("status", world.name).exit_code == 0
    assert "dlq group" in run("status", str(world.name)).stdout
    shown = run("events", f"{world.name}.erp.retry.10m")
    assert "failed 1 times, due " in shown.stdout
    assert '"id": "late"' in shown.stdout
    for topic in ("dlq", "inbox"):
        assert '"id": "dead"' in run("events", f"{world.name}.erp.{topic}").stdout
    assert run("events", f"{world.name}.control").exit_code == 0


def test_a_flow_that_is_not_there_is_told_with_those_that_are(backbone: Backbone) -> None:
    with pytest.raises(ConfigurationError, match="there is no flow 'nobody-has-this'"):
        flow_figures(backbone, ["nobody-has-this"])


@pytest.fixture
def feed(backbone: Backbone, topic: Callable[[str], str]) -> Feed:
    return Feed(backbone, topic("events"))


def test_events_are_decoded_and_what_cannot_be_is_told(feed: Feed) -> None:
    feed.orders([("a", 1), ("b", 2)])
    feed.raw(b"a", None)
    feed.raw(b"c", b"\0\x7f\xff\xff\xff" + b"x" * 20)
    feed.raw(b"\xff", b"not Avro at all")
    feed.raw(None, b'{"n": ' * 5000)
    feed.flush()
    result = run("events", feed.topic, "--json")
    assert result.exit_code == 0
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(told) == 6
    assert [one["value"] for one in told if one["value"]] == [
        {"id": key, "status": "paid", "total_cents": number} for key, number in (("a", 1), ("b", 2))
    ]
    (deleted,) = [one for one in told if one["change"] == "delete"]
    assert (deleted["key"], deleted["size"], deleted["unreadable"]) == ("a", None, None)
    unreadable = {one["key"]: one for one in told if one["unreadable"]}
    assert unreadable["c"]["size"] == 25
    assert "unknown to the registry" in unreadable["c"]["unreadable"]
    assert unreadable["0xff"]["size"] == 15
    assert unreadable[None]["unreadable"].startswith("no JSON")
    text = run("events", feed.topic).stdout
    assert "deleted  key a" in text
    assert "not readable (25 bytes): " in text
    assert "no key" in text
    assert '"total_cents"' not in run("events", feed.topic, "--no-values").stdout


def test_a_key_is_looked_for_where_it_is(feed: Feed, backbone: Backbone) -> None:
    keys = [f"k{number}" for number in range(20)]
    feed.orders((key, number) for number in range(3) for key in keys)
    for key in keys:
        with TopicBrowser(backbone, feed.topic, key=key) as browser:
            found = browser.newest(browser.ranges(), 2)
        assert [one.value.data["total_cents"] for one in found] == [1, 2]
        assert {one.partition for one in found} == {partition_of_key(key.encode(), 4)}
    # Another program may have put it elsewhere.
    own = partition_of_key(b"elsewhere", 4)
    producer = kafka.producer(backbone)
    producer.produce(feed.topic, b"x", b"elsewhere", partition=(own + 1) % 4)
    assert producer.flush(30) == 0
    with TopicBrowser(backbone, feed.topic, key="elsewhere") as browser:
        (one,) = browser.first(browser.ranges(), 10)
    assert one.partition == (own + 1) % 4


def test_bounds_limit_and_order(feed: Feed, backbone: Backbone) -> None:
    feed.orders((f"k{number}", number) for number in range(50))
    with TopicBrowser(backbone, feed.topic) as browser:
        every = browser.first(browser.ranges(), 1000)
        assert len(every) == 50
        assert [one.written for one in every] == sorted(one.written for one in every)
        assert browser.newest(browser.ranges(), 7) == every[-7:]
        later = browser.ranges(start=every[-1].written, until=None)
        assert every[-1] in browser.first(later, 1000)
    with TopicBrowser(backbone, feed.topic, partition=1) as browser:
        found = browser.first(browser.ranges(2, 5), 1000)
        assert [one.offset for one in found] == [2, 3, 4]
    result = run("events", feed.topic, "--from", "earliest", "--limit", "3", "--json")
    assert len(result.stdout.splitlines()) == 3
    with pytest.raises(ConfigurationError, match="4 partitions, from 0 on"):
        TopicBrowser(backbone, feed.topic, partition=9)
    with pytest.raises(ConfigurationError, match=f"did you mean .*{feed.topic}"):
        TopicBrowser(backbone, feed.topic + "x")


def test_what_comes_is_followed(feed: Feed, backbone: Backbone) -> None:
    feed.orders([("before", 1)])
    stop, found = threading.Event(), []
    with TopicBrowser(backbone, feed.topic) as browser:
        starts = {place: span.stop for place, span in browser.ranges().items()}

        def follow() -> None:
            for record in browser.follow(starts, stop):
                found.append(record.shown_key)
                if len(found) == 2:
                    stop.set()

        thread = threading.Thread(target=follow)
        thread.start()
        feed.orders([("one", 1), ("other", 2)])
        thread.join(60)
        stop.set()
    assert sorted(found) == ["one", "other"]


def test_without_a_registry_values_are_told_as_not_readable(feed: Feed, backbone: Backbone) -> None:
    feed.orders([("a", 1), ("b", 2)])
    away = backbone.model_copy(update={"registry": f"http://127.0.0.1:{free_port()}"})
    with TopicBrowser(away, feed.topic) as browser:
        found = browser.newest(browser.ranges(), 10)
    assert [
        one.shown_key for one in found if "cannot be asked" in (one.value.unreadable or "")
    ] == [*("a", "b")]
