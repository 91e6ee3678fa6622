"""A worker that takes over: of a key some wait in tiers, and earlier ones are in the inbox yet,
which had waited in the memory of the worker before."""

from __future__ import annotations

from random import Random

import pytest

from delivery_kit import ErpTest


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """One event waits in memory at the most."""
    monkeypatch.setattr("trunkline.streams.retry.key_order.MAX_BUFFERED", 1)


def killed_while_others_wait(test: ErpTest) -> None:
    """Of one key the first is delivered, the second under way, the third in a tier till 15 s."""
    test.script.answers(500, times=1)
    test.send("a")
    test.advance("5s")
    test.send("a", "a")
    test.script.takes("2s")
    test.advance("8s")
    waiting = {wait.id: wait.tier for wait in test.waiting(test.erp)}
    assert waiting == {"a/2": "", "a/3": "10s"}, "this is not the case that is meant"
    test.backbone.stall(test.erp.inbox)
    test.crash()


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("unread", ["1s", "30s", "5m"])
def test_what_is_in_a_tier_waits_until_the_inbox_is_read(unread: str) -> None:
    with ErpTest() as test:
        killed_while_others_wait(test)
        test.advance(unread)
        assert test.arrived == ["a/1"]
        test.backbone.stall(test.erp.inbox, on=False)
        test.run_until_idle("1m")
        assert test.arrived == ["a/1", "a/2", "a/3"]


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("seed", range(6))
def test_what_is_read_in_one_batch_may_be_in_any_order(seed: int) -> None:
    """Of several partitions, for within one it is fixed."""
    with ErpTest() as test:
        killed_while_others_wait(test)
        for topic in test.erp.tiers:
            test.backbone.stall(topic)
        test.advance("30s")
        test.backbone.shuffle = Random(seed)
        for topic in (test.erp.inbox, *test.erp.tiers):
            test.backbone.stall(topic, on=False)
        test.run_until_idle("1m")
        assert test.arrived == ["a/1", "a/2", "a/3"]


@pytest.mark.usefixtures("little_memory")
def test_what_is_deleted_from_the_inbox_is_not_waited_for() -> None:
    """Retention was over before it could be read."""
    with ErpTest() as test:
        killed_while_others_wait(test)
        test.backbone.truncate(test.erp.inbox)
        test.crash()
        test.run_until_idle("1m")
        assert test.arrived == ["a/1", "a/3"]
