"""Six sources over three workers: spread evenly, also after ``kill -9`` and a return; each is read
by one worker at a time, and the others read on."""

from __future__ import annotations

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pytest

from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from worker_kit import Workers, environ_of, eventually, read

FLOW = Path(__file__).parent / "spread_flow.py"
SOURCES = 6
TAKEOVER = 40.0
"""Seconds in which the sources of a worker that was killed are read on. Kafka waits 10 for it; the
rest is for a machine that is busy with other tests."""
Told = dict[str, list[tuple[str, int]]]
"""By source: which process read which number, in the order of the topic."""


@pytest.fixture
def backbone(bootstrap: str, registry_url: str) -> Backbone:
    return Backbone(bootstrap=bootstrap, registry=registry_url)


def told(backbone: Backbone, name: str) -> Told:
    found: Told = defaultdict(list)
    with closing(Registry(backbone.registry)) as registry:
        decode = Codec(registry).decoder(Order)
        for message in read(backbone, f"{name}.numbers"):
            order = decode(message.value() or b"")
            found[order["id"]].append((order["status"], order["total_cents"]))
    return found


def owners(found: Told) -> dict[str, str]:
    """Who read the newest number of each source."""
    return {source: numbers[-1][0] for source, numbers in found.items()}


def test_sources_spread_evenly_and_move_only_where_they_must(
    backbone: Backbone, tmp_path: Path
) -> None:
    name = f"spread-{uuid.uuid4().hex[:8]}"

    with Workers(FLOW, tmp_path, environ_of(backbone, flow=name)) as workers:

        def spread(*share: int) -> Callable[[], bool]:
            """Whether those that are alive have so many sources each."""

            def even() -> bool:
                alive = {str(worker.process.pid) for worker in workers.running}
                now = owners(told(backbone, name))
                shares = Counter(now.values())
                return set(shares) <= alive and sorted(shares.values()) == list(share)

            return even

        workers.started("source", "source", "source")
        eventually(spread(2, 2, 2), "two each")
        before = owners(told(backbone, name))
        victim = workers.running[1]
        workers.kill(victim)
        killed = time.monotonic()
        eventually(spread(3, 3), "the two that are left have three each")
        assert time.monotonic() - killed < TAKEOVER
        orphans = {source for source, pid in before.items() if pid == str(victim.process.pid)}
        without = owners(told(backbone, name))
        moved = {source for source, pid in without.items() if before[source] != pid}
        assert moved == orphans, "the others read on where they were"
        (back,) = workers.started("source")
        eventually(spread(2, 2, 2), "two each again")
        after = owners(told(backbone, name))
        moved = {source for source, pid in after.items() if without[source] != pid}
        assert len(moved) == 2
        assert {after[source] for source in moved} == {str(back.process.pid)}
        workers.stop(back)
        eventually(spread(3, 3), "those of one that was stopped are taken over")
        workers.stop()
    found = told(backbone, name)
    assert len(found) == SOURCES
    for source, numbers in found.items():
        assert [n for _, n in numbers] == list(range(1, len(numbers) + 1)), f"{source}: each once"
        turns = [pid for pid, _ in groupby(pid for pid, _ in numbers)]
        assert len(turns) <= 5, f"{source} was read by one at a time: {turns}"
    said = workers_said(tmp_path)
    assert "fenced" not in said
    assert "Traceback" not in said


def workers_said(folder: Path) -> str:
    """The logs of all workers."""
    return "".join(log.read_text() for log in folder.glob("*.log"))
