"""Keys that are far behind leave their tiers again, as fast as their destination takes them."""

from __future__ import annotations

import pytest
from delivery_kit import ErpTest

from trunkline import Retry

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


def test_reading_goes_on_if_what_kept_back_the_prefix_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One batch fills the window with followers, and they leave it at once."""
    monkeypatch.setattr("trunkline.streams.delivery.WINDOW", 100)
    with ErpTest() as test:
        test.script.answers(500)
        test.send("a")
        test.send(*["a"] * 300)
        test.run_until_idle()
        assert len(test.arrived) == 301
