"""How a worker ends: asked to at full load, or thrown out by Kafka; and when it counts as alive."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from trunkline.params import Backbone
from worker_kit import Destination, Feed, WorkerProcess, Workers, environ_of, eventually

FLOW = Path(__file__).parent / "watched_flow.py"
ROLES = "route,deliver"


@dataclass
class Case:
    """A flow of one destination, with its feed."""

    feed: Feed
    api: Destination
    workers: Workers

    def events(self, count: int) -> None:
        self.feed.orders((f"k{number % 50}", number) for number in range(count))


@pytest.fixture
def case(bootstrap: str, registry_url: str, tmp_path: Path) -> Iterator[Case]:
    backbone = Backbone(bootstrap=bootstrap, registry=registry_url)
    name = f"ending-{uuid.uuid4().hex[:8]}"
    feed = Feed(backbone, f"{name}.orders", partitions=4)
    with Destination() as api:
        environ = environ_of(backbone, flow=name, api=api.url)
        environ |= {"TRUNKLINE_DRAIN": "10s", "TRUNKLINE_KAFKA__GROUP_INSTANCE_ID": "worker-0"}
        with Workers(FLOW, tmp_path, environ) as workers:
            yield Case(feed, api, workers)


def alive(worker: WorkerProcess) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/healthz", timeout=1):
            return True
    except (urllib.error.URLError, TimeoutError):
        return False


def test_asked_to_end_at_full_load_it_ends_well_and_in_time(case: Case) -> None:
    """Three times, and nothing is lost meanwhile; what is under way is finished."""
    case.api.delay = 0.02
    case.events(6_000)
    for _ in range(3):
        (worker,) = case.workers.started(ROLES)
        before = len(case.api.deliveries)
        eventually(lambda n=before: len(case.api.deliveries) > n + 100, "it delivers")
        began = time.monotonic()
        case.workers.stop(worker)
        assert time.monotonic() - began < 10 + 15, "the grace period is over"
    case.api.delay = 0.0
    case.workers.started(ROLES)
    eventually(lambda: len({d.body["total_cents"] for d in case.api.deliveries}) == 6_000, "all")
    assert len(case.api.deliveries) == 6_000, "a worker that ends well repeats nothing"


def test_one_that_kafka_throws_out_ends_at_once(case: Case) -> None:
    """However long a call may take: another worker has its partitions already."""
    case.api.delay = 20.0
    case.events(1)
    (first,) = case.workers.started(ROLES)
    eventually(lambda: first.says("assigned"), "it has partitions")
    case.workers.start(ROLES)  # the same pod's name: Kafka lets one of both in
    eventually(lambda: "fenced" in first.log.read_text(), "it is thrown out")
    began = time.monotonic()
    assert first.process.wait(30) == 1
    took = time.monotonic() - began
    print(f"ended {took:.2f} s after it was thrown out")
    assert took < 5, "it waited for the call under way"
    assert "Traceback" not in first.log.read_text()
    case.workers.running.remove(first)


def test_only_one_that_stands_still_is_not_alive(case: Case) -> None:
    case.api.down()
    case.events(1)
    (worker,) = case.workers.started(ROLES)
    eventually(lambda: worker.says("down"), "its destination is down")
    assert alive(worker)
    assert worker.ready
    worker.freeze()
    assert not alive(worker)
    worker.wake()
    eventually(lambda: alive(worker), "it goes on")
    case.api.up()
