"""Workers sleep until something is due, and are awake in time: 200 waits in virtual time."""

from __future__ import annotations

import random

import pytest

from engine_kit import Scripted, delivering
from keda_kit import KedaScaling
from trunkline.scaler.demand import Facts
from trunkline.scaler.steps import Catalogue, StepKey
from trunkline.scaler.watch import Watches

LEAD, COOLDOWN, POLL, TICK = 15.0, 300.0, 15.0, 0.25


class Sleeper:
    """A destination with one event that waits, its scaler and KEDA, in virtual time."""

    def __init__(self, phase: float) -> None:
        self.now = 1_700_000_000.0
        flow = delivering(Scripted())
        self._key = StepKey(flow.name, "deliver", "erp")
        self.watches = Watches(Catalogue({"f.py": flow}), lambda: self.now, LEAD)
        self.watch = self.watches.watch({"flow": "f.py", "step": "deliver"})
        self._phase = phase
        self.pushes = 0

    def wait(self, seconds: float, starting: float) -> tuple[KedaScaling, float]:
        """One event is due in so many seconds; all is as KEDA makes it until a worker has it.
        Returns what KEDA did, and when the event was due."""
        began, due = self.now, self.now + seconds
        keda = KedaScaling(COOLDOWN, starting, last_active=began)
        self._look(keda, due)
        self.pushes = 0
        next_poll = began + self._phase
        while not (self.now >= due and keda.replicas and self.now >= keda.ready_at):
            assert self.now < due + 60, "nobody comes"
            self.now = min(next_poll, self._next_tick(due))
            before = self.watch.active
            self._look(keda, due)
            if self.watch.active and not before:
                self.pushes += 1
                keda.push(self.now)
            if self.now >= next_poll:
                keda.poll(self.now, active=self.watches.answer(self.watch).active)
                next_poll += POLL
        return keda, due

    def _next_tick(self, due: float) -> float:
        """Far from when something happens, from poll to poll."""
        near = self.now > due - LEAD - 2 * POLL
        return self.now + (TICK if near else POLL)

    def _look(self, keda: KedaScaling, due: float) -> None:
        there = int(keda.replicas and self.now >= keda.ready_at)
        self.watches.take({self._key: Facts(self.now, ready={0: [due]}, members=there)})


def test_two_hundred_waits() -> None:
    chance = random.Random(15)
    for _ in range(200):
        sleeper = Sleeper(chance.uniform(0, POLL))
        seconds, starting = chance.uniform(60, 7200), chance.uniform(2, LEAD)
        keda, due = sleeper.wait(seconds, starting)
        assert sleeper.now - due <= 1.0, "asleep past due"
        assert sleeper.pushes == 1
        if seconds <= COOLDOWN + LEAD:
            assert not keda.slept, "it would have been woken at once"
        if seconds > COOLDOWN + LEAD + POLL:
            (woken,) = keda.woken
            assert due - LEAD - 5 <= woken <= due - LEAD + TICK


def test_the_lead_is_what_starts_have_taken() -> None:
    """After five starts of some nine seconds nobody is woken fifteen seconds early any more."""
    sleeper, chance = Sleeper(0.0), random.Random(9)
    woken_before = []
    for _ in range(20):
        keda, due = sleeper.wait(1800, starting=chance.uniform(9.0, 9.5))
        woken_before.append(due - keda.woken[0])
        assert sleeper.now - due <= 1.0
        sleeper.now += 60
    assert woken_before[0] == pytest.approx(LEAD, abs=TICK)
    assert all(9.0 <= early <= 10.0 for early in woken_before[6:])
