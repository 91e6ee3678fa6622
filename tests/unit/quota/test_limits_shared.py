"""What workers get that are alive: everybody something, all of it together, and soon."""

from __future__ import annotations

import logging

import pytest

import limits_world
from limits_world import GRACE, Worker, World
from trunkline.streams.quota.fair_share import NOTHING, Share
from trunkline.streams.quota.leases import LEASE


def world(whole: Share, workers: int, seed: int = 1) -> World:
    made = World(whole, seed)
    for number in range(workers):
        made.join(skew=number * 1000.0).demand = True
    return made


def rates(world: World) -> list[float]:
    return [worker.gate.share(world.clock(worker)).rate or 0.0 for worker in world.workers]


def coordinator(world: World) -> Worker:
    (one,) = [worker for worker in world.workers if worker.member.coordinates]
    return one


def sent_in(world: World, seconds: float) -> int:
    before = len(world.sent_at)
    world.run(seconds)
    return len(world.sent_at) - before


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_all_who_want_have_the_same_and_together_everything(workers: int, seed: int) -> None:
    shared = world(Share(70.0, None), workers, seed)
    shared.run(4.0)
    assert rates(shared) == pytest.approx([70.0 / workers] * workers, rel=0.12)
    assert sent_in(shared, 10.0) == pytest.approx(700, rel=0.05)


def test_the_first_event_needs_no_second() -> None:
    shared = world(Share(50.0, None), 3)
    shared.run(0.5)
    assert all(worker.sent for worker in shared.workers)


def test_who_comes_later_has_its_share_at_once() -> None:
    shared = world(Share(50.0, None), 1)
    shared.run(4.0)
    shared.join().demand = True
    shared.run(0.4)
    assert min(rates(shared)) > 20


def test_what_one_does_not_need_the_other_has() -> None:
    shared = world(Share(50.0, None), 2)
    shared.run(4.0)
    shared.workers[0].demand = False
    shared.run(6.0)
    assert rates(shared) == pytest.approx([0.0, 50.0])
    shared.workers[0].demand = True
    shared.run(0.4)
    assert min(rates(shared)) > 20


def test_who_is_idle_is_silent() -> None:
    shared = world(Share(50.0, 5), 2)
    shared.run(4.0)
    for worker in shared.workers:
        worker.demand = False
    shared.run(5.0)
    said = len(shared.log)
    shared.run(60.0)
    assert len(shared.log) == said
    assert shared.in_use() == NOTHING


@pytest.mark.parametrize("seed", range(5))
def test_a_coordinator_that_crashes_is_replaced_before_shares_run_out(seed: int) -> None:
    shared = world(Share(60.0, None), 3, seed)
    shared.run(5.0)
    shared.crash(coordinator(shared))
    for _ in range(20):
        shared.run(0.5)
        assert min(rates(shared)) > 15, "somebody had to stop"
    assert rates(shared) == pytest.approx([30.0, 30.0], rel=0.12)


def test_a_coordinator_that_leaves_is_replaced_at_once() -> None:
    shared = world(Share(60.0, None), 3)
    shared.run(5.0)
    leaving = coordinator(shared)
    shared.put_on_its_way(leaving.member.leave(shared.clock(leaving)))
    shared.crash(leaving)
    shared.run(3.0)
    assert rates(shared) == pytest.approx([30.0, 30.0], rel=0.12)


def test_a_coordinator_that_was_paused_does_no_harm() -> None:
    shared = world(Share(60.0, 6), 3)
    shared.run(5.0)
    paused = coordinator(shared)
    shared.workers.remove(paused)  # stands still
    shared.run(20.0)
    shared.workers.append(paused)
    shared.read(paused, 3)  # answers what is old, as it knows of nobody after it
    shared.speak(paused)
    shared.run(5.0)
    assert coordinator(shared) is not paused
    assert rates(shared) == pytest.approx([20.0] * 3, rel=0.12)


def crash_another(shared: World) -> None:
    shared.crash(next(w for w in shared.workers if not w.member.coordinates))


def test_a_crashed_workers_rate_is_free_after_its_lease() -> None:
    shared = world(Share(60.0, None), 2)
    shared.run(5.0)
    crash_another(shared)
    shared.run(1.0)
    assert rates(shared) == pytest.approx([30.0], rel=0.12)
    shared.run(6.0)
    assert rates(shared) == [60.0]


def test_a_crashed_workers_calls_are_free_after_its_lease_and_a_calls_time() -> None:
    shared = world(Share(None, 4), 2)
    shared.run(5.0)
    crash_another(shared)
    shared.run(LEASE)
    assert shared.in_use().calls == 2
    shared.run(GRACE + 2.0)
    assert shared.in_use().calls == 4


def test_permits_are_whole_and_all_are_used() -> None:
    shared = world(Share(None, 10), 3)
    shared.run(4.0)
    assert sorted(w.gate.share(shared.clock(w)).calls or 0 for w in shared.workers) == [3, 3, 4]
    for worker in shared.workers:
        shared.read(worker)
        for _ in range(10):
            shared.send(worker)
    assert sum(len(worker.calls) for worker in shared.workers) == 10


def test_more_workers_than_permits_take_turns() -> None:
    shared = world(Share(None, 2), 7)
    shared.run(30.0)
    counts = [worker.sent for worker in shared.workers]
    assert min(counts) > 0.5 * max(counts)


def test_a_slow_rate_lets_an_event_through_at_once_after_a_pause() -> None:
    shared = world(Share(1 / 60, None), 1)
    shared.run(70.0)
    (worker,) = shared.workers
    worker.demand = False
    shared.run(120.0)
    before = worker.sent
    worker.demand = True
    shared.run(0.3)
    assert worker.sent == before + 1


def test_a_slow_rate_is_shared_by_many() -> None:
    shared = world(Share(1.0, None), 8)
    assert sent_in(shared, 60.0) == pytest.approx(60, abs=9)
    assert all(worker.sent for worker in shared.workers)


def test_without_kafka_nothing_is_sent_after_the_lease_and_all_goes_on_after_it() -> None:
    shared = world(Share(50.0, None), 2)
    shared.run(4.0)
    for _ in range(300):  # nothing arrives
        for worker in shared.workers:
            shared.read(worker)
            shared.send(worker)
            shared.speak(worker)
        shared.under_way.clear()
        shared.advance(0.02)
        shared.check()
    assert rates(shared) == [0.0, 0.0]
    shared.run(4.0)
    assert rates(shared) == pytest.approx([25.0, 25.0], rel=0.12)


def test_different_numbers_of_one_limit_are_told_and_the_smallest_hold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = world(Share(100.0, None), 1)
    shared.whole = Share(20.0, None)
    caplog.set_level(logging.WARNING)
    shared.join().demand = True
    shared.whole = Share(100.0, None)  # the promise of before, until everybody has heard
    shared.run(8.0)
    assert sum(rates(shared)) == pytest.approx(20.0)
    said = {record.getMessage() for record in caplog.records}
    assert len(said) == 2, said  # each worker once
    assert all("orders.w0" in text and "orders.w1" in text for text in said)


@pytest.mark.parametrize("seed", range(6))
def test_who_is_left_after_several_kills_never_stops(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is killed and replaced; the new one reads grants that are long over. When it is alone
    later, it must not take the first one's calls for under way still, beside those of the others.
    """
    monkeypatch.setattr(limits_world, "GRACE", 30.0)
    shared = world(Share(50.0, 10), 3, seed)
    shared.run(15.0)
    shared.crash(next(worker for worker in shared.workers if not worker.member.coordinates))
    shared.run(20.0)
    shared.join().demand = True
    shared.run(20.0)
    first = coordinator(shared)
    _, left = [worker for worker in shared.workers if worker is not first]
    for worker in [one for one in shared.workers if one is not left]:
        shared.crash(worker)
    begin = shared.now
    shared.run(20.0)
    every_second = {int(at - begin) for at in shared.sent_at if at >= begin}
    assert every_second == set(range(20))
