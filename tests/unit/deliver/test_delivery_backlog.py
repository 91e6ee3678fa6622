"""Keys that are far behind leave their tiers again, as fast as their destination takes them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import pytest

from delivery_kit import ErpTest
from trunkline import CircuitBreaker, Event, Rejected, Retry, Retryable, Unavailable
from trunkline.schemas.commerce import Order

KEYS = [f"k{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("tiers", "seconds"), [(("500ms", "2s", "5s"), 20), (("10s", "1m"), 50)], ids=["short", "long"]
)
def test_a_backlog_behind_blocked_keys_drains(tiers: tuple[str, ...], seconds: int) -> None:
    """15,000 events, three times what memory takes, follow ten that fail once each. Ten keys take
    7.5 s at the least. One event of a key for each round through a tier would take many minutes."""
    with ErpTest(retry=Retry(*tiers), concurrency=16) as test:
        test.script.answers(500, times=len(KEYS))
        test.script.takes("5ms")
        for _ in range(1500):
            test.send(*KEYS)
        test.run_until_idle()
        for key in KEYS:
            mine = [id for id in test.arrived if id.startswith(f"{key}/")]
            assert mine == sorted(mine, key=lambda id: int(id.split("/")[1]))
            assert len(mine) == 1500
        assert test.elapsed < seconds


@pytest.mark.parametrize("seed", range(8))
def test_nothing_stands_still_however_little_room_there_is(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Memory is tight all the time, while calls fail at random and the destination goes away."""
    sizes = {"step.MAX_OPEN": 40, "backpressure.MAX_OPEN": 40, "backpressure.MAX_OFFSET_SPAN": 80}
    for name, size in sizes.items():
        monkeypatch.setattr(f"trunkline.streams.deliver.{name}", size)
    monkeypatch.setattr("trunkline.streams.retry.key_order.MAX_BUFFERED", 20)
    chance = random.Random(seed)
    with ErpTest(retry=Retry("500ms", "2s", "5s"), breaker=SOON, seed=seed) as test:
        test.script.does(partial(fail, chance))
        for _ in range(100):
            test.send(*KEYS)
            if chance.random() < 0.05:
                test.crash()
        test.run_until_idle()
        dead = [letter.event_id for letter in test.dead_letters(test.erp)]
        assert len({*test.arrived, *dead}) == 1000


SOON = CircuitBreaker(open="500ms", longest="2s", slow_start="1s")


def fail(chance: random.Random, events: Sequence[Event[Order]]) -> None:
    """Mostly nothing, and seldom something; an outage comes in rows."""
    drawn = chance.random()
    if drawn < 0.1:
        raise Retryable("500")
    if drawn < 0.15:
        raise Unavailable("503")
    if drawn < 0.17:
        raise Rejected("400")
