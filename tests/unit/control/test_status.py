"""What a worker tells of a destination, and when it tells nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from trunkline.kafka import KafkaUnavailable
from trunkline.streams.control import status
from trunkline.streams.control.status import DestinationStatus
from trunkline.testing.control import MemoryControl
from trunkline.times import iso

KEY = "status/erp/w1"


class Counting(MemoryControl):
    """Counts the writes of each key; the first ``broken`` ones fail."""

    def __init__(self, broken: int = 0) -> None:
        super().__init__()
        self.writes: list[tuple[str, Any]] = []
        self._broken = broken

    async def put(self, key: str, value: Any) -> None:
        if self._broken:
            self._broken -= 1
            raise KafkaUnavailable("down")
        self.writes.append((key, value and value["state"]))
        await super().put(key, value)


class Clock:
    """Stands still unless told."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


Story = Callable[[Counting, DestinationStatus], Awaitable[None]]


def tell(story: Story, control: Counting | None = None, clock: Clock | None = None) -> Counting:
    """The writes of a worker that goes through a story."""
    control = control or Counting()

    async def run() -> None:
        own = DestinationStatus(control, "erp", "w1", clock=clock or Clock())
        await story(control, own)
        await own.stop()
        assert own.failure is None

    asyncio.run(run())
    return control


async def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "WRITE_INTERVAL", 0.0)


def test_a_worker_whose_destination_is_well_writes_nothing() -> None:
    async def story(control: Counting, own: DestinationStatus) -> None:
        for lag in range(100):
            own.report({"state": "closed", "lag": lag})
            await asyncio.sleep(0)

    assert tell(story).writes == []


def test_trouble_is_told_once_and_taken_back_when_it_is_over() -> None:
    async def story(control: Counting, own: DestinationStatus) -> None:
        for lag in range(50):
            own.report({"state": "open", "lag": lag})
            await asyncio.sleep(0)
        assert control.state[KEY]["since"] == control.state[KEY]["at"] == iso(Clock.now)
        own.report({"state": "slow-start"})
        await until(lambda: control.state[KEY]["state"] == "slow-start")
        own.report({"state": "closed"})
        await until(lambda: KEY not in control.state)

    assert tell(story).writes == [(KEY, "open"), (KEY, "slow-start"), (KEY, None)]


def test_trouble_that_comes_back_is_told_again() -> None:
    async def story(control: Counting, own: DestinationStatus) -> None:
        for _ in range(3):
            own.report({"state": "open"})
            await until(lambda: KEY in control.state)
            own.report({"state": "closed"})
            await until(lambda: KEY not in control.state)

    assert tell(story).writes == [(KEY, "open"), (KEY, None)] * 3


def test_what_flaps_between_two_writes_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "WRITE_INTERVAL", 0.05)

    async def story(control: Counting, own: DestinationStatus) -> None:
        own.report({"state": "open"})
        await until(lambda: KEY in control.state)
        for _ in range(100):
            own.report({"state": "half-open"})
            own.report({"state": "open"})
        own.report({"state": "slow-start"})
        await until(lambda: control.state[KEY]["state"] == "slow-start")

    assert tell(story).writes == [(KEY, "open"), (KEY, "slow-start"), (KEY, None)]


def test_trouble_that_lasts_is_told_again_with_the_newest_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "REPEAT_INTERVAL", 0.01)
    clock = Clock()

    async def story(control: Counting, own: DestinationStatus) -> None:
        own.report({"state": "open", "lag": 1})
        await until(lambda: KEY in control.state)
        clock.now += 40
        own.report({"state": "open", "lag": 2})
        await until(lambda: control.state[KEY]["lag"] == 2)
        assert control.state[KEY]["since"] == iso(Clock.now)
        assert control.state[KEY]["at"] == iso(Clock.now + 40)

    tell(story, clock=clock)


def test_an_ending_worker_takes_its_record_away() -> None:
    async def story(control: Counting, own: DestinationStatus) -> None:
        own.report({"state": "open"})
        await until(lambda: KEY in control.state)

    assert tell(story).writes[-1] == (KEY, None)


def test_without_kafka_it_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "REPEAT_INTERVAL", 0.01)

    async def story(control: Counting, own: DestinationStatus) -> None:
        own.report({"state": "open"})
        await until(lambda: KEY in control.state)

    tell(story, Counting(broken=2))


def test_a_record_of_the_same_name_from_before_is_taken_back() -> None:
    async def story(control: Counting, own: DestinationStatus) -> None:
        control.state[KEY] = {"state": "open", "at": iso(Clock.now)}
        own.report({"state": "closed"})
        await until(lambda: KEY not in control.state)

    assert tell(story).writes == [(KEY, None)]


def test_records_of_workers_that_are_long_gone_are_removed() -> None:
    def told(seconds_ago: float) -> dict[str, Any]:
        return {"state": "open", "at": iso(Clock.now - seconds_ago)}

    async def story(control: Counting, own: DestinationStatus) -> None:
        control.state["status/erp/gone"] = told(4000)
        control.state["status/erp/silent"] = told(3000)
        control.state["status/crm/gone"] = told(4000)
        own.report({"state": "open"})
        await until(lambda: KEY in control.state)

    left = tell(story).state
    assert sorted(left) == ["status/crm/gone", "status/erp/silent"]
