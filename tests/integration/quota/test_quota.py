"""Limits over several workers, on Kafka: together never more than the whole, and all of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engine_kit import PATIENCE, eventually
from trunkline import kafka
from trunkline.params import Backbone
from trunkline.streams.admission.gate import Permit
from trunkline.streams.admission.token_bucket import BURST
from trunkline.streams.quota import client as quotas
from trunkline.streams.quota.client import QuotaClient
from trunkline.streams.quota.fair_share import Share
from trunkline.streams.quota.limiter import QuotaGate

RATE = 100.0


@pytest.fixture
def limits_topic(bootstrap: str, topic: Callable[[str], str]) -> str:
    """A topic of limits that no other test reads."""
    name = topic("limits")
    kafka.ensure_topics(Backbone(bootstrap=bootstrap), [replace(quotas.topic(), name=name)])
    return name


@contextmanager
def worker(bootstrap: str, limits_topic: str, folder: Path, name: str) -> Iterator[Process]:
    """A worker process that sends as much as it may."""
    file = folder / name
    command = [sys.executable, str(Path(__file__).with_name("quota_worker.py"))]
    arguments = [bootstrap, limits_topic, str(RATE), "0"]
    with file.open("wb") as out:
        process = subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=out)
    try:
        yield Process(process, file)
    finally:
        process.communicate(timeout=PATIENCE)


class Process:
    """A worker process, and when it sent its events."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self._process = process
        self._file = file

    def sent(self) -> list[float]:
        """The whole lines of its file."""
        return [float(line) for line in self._file.read_text().split("\n")[:-1]]

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait(PATIENCE)


def test_processes_share_a_rate_and_one_that_is_killed_leaves_its_share_to_the_others(
    bootstrap: str, limits_topic: str, tmp_path: Path
) -> None:
    asyncio.run(share_and_kill(bootstrap, limits_topic, tmp_path))


async def share_and_kill(bootstrap: str, limits_topic: str, tmp_path: Path) -> None:
    with ExitStack() as running:
        workers = [
            running.enter_context(worker(bootstrap, limits_topic, tmp_path, name)) for name in "abc"
        ]
        await eventually(lambda: all(w.sent() for w in workers), "everybody has sent something")
        await asyncio.sleep(2.0)
        workers[0].kill()  # it may be the coordinator
        before = [len(w.sent()) for w in workers[1:]]
        await eventually(
            lambda: len(lately(workers[1:], 2.0)) > 0.75 * RATE * 2.0,
            "the others send more than their two thirds: the killed one's share is theirs",
        )
        sent = [w.sent() for w in workers]
    assert all(len(now) > b for now, b in zip(sent[1:], before, strict=True))
    check_every_window(sorted(at for now in sent for at in now), RATE * BURST + 3 + 1)


def lately(workers: list[Process], seconds: float) -> list[float]:
    """What these sent in the last so many seconds."""
    since = time.monotonic() - seconds
    return [at for w in workers for at in w.sent() if at > since]


def check_every_window(sent: list[float], burst: float) -> None:
    """In any time, no more events than the rate allows and the burst that is promised."""
    excess = 0.0
    for index, at in enumerate(sent):
        passed = (at - sent[index - 1]) * RATE if index else 0.0
        excess = max(0.0, excess - passed) + 1
        assert excess <= burst + 0.05 * RATE, "more than the whole"  # the times are printed later


def test_gates_of_several_workers_hold_no_more_calls_than_there_are(
    bootstrap: str, limits_topic: str
) -> None:
    asyncio.run(take_all_permits(bootstrap, limits_topic))


async def take_all_permits(bootstrap: str, limits_topic: str) -> None:
    started = [QuotaClient(Backbone(bootstrap=bootstrap), topic=limits_topic) for _ in range(3)]
    gates = [quota.limit("system/erp", Share(None, 4), who="test.erp") for quota in started]
    for quota in started:
        await quota.start()
    taken: list[list[Permit]] = [[], [], []]

    def take() -> bool:
        """Begin calls wherever there is room; none of them ends."""
        now = asyncio.get_running_loop().time()
        for index, gate in enumerate(gates):
            if gate.permits(now) > 0:
                taken[index].append(gate.acquire(now, 1))
        assert sum(map(len, taken)) <= 4
        return sum(map(len, taken)) == 4

    await eventually(take, "all permits are in use")
    now = asyncio.get_running_loop().time()
    busy = next(permits for permits in taken if permits)
    busy.pop().finish(now, 1, None)
    await eventually(take, "the permit is in use again")
    for quota in started:
        await quota.stop()
        assert quota.failure is None


def full_share(gate: QuotaGate) -> bool:
    """Whether the gate may use all of it."""
    now = asyncio.get_running_loop().time()
    gate.permits(now)
    return gate.share(now).rate == RATE


def test_a_worker_that_stops_leaves_everything_to_the_next(
    bootstrap: str, limits_topic: str
) -> None:
    asyncio.run(one_after_the_other(bootstrap, limits_topic))


async def one_after_the_other(bootstrap: str, limits_topic: str) -> None:
    for _ in range(2):
        quota = QuotaClient(Backbone(bootstrap=bootstrap), topic=limits_topic)
        gate = quota.limit("system/erp", Share(RATE, None), who="test.erp")
        await quota.start()
        await eventually(lambda gate=gate: full_share(gate), "it has all of it")  # type: ignore[misc]
        await quota.stop()
        assert quota.failure is None


def test_a_quota_can_be_stopped_before_it_was_started(bootstrap: str) -> None:
    asyncio.run(QuotaClient(Backbone(bootstrap=bootstrap)).stop())
