"""The breaker on a virtual clock: through an outage with hardly a request, and then to the full
rate; and through any calls that end in any way, never spinning and never standing still."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import Unavailable
from trunkline.streams.admission.circuit_breaker import CircuitBreakerState
from trunkline.streams.admission.gate import NEVER, Permit
from trunkline.streams.flow.circuit_breaker import CircuitBreaker

ANSWERS = 0.02
WORKERS = 100


@dataclass
class Run:
    """A worker with more to send than it may, and a destination that is down for a while."""

    down: tuple[float, float]
    fails_after: float
    breaker: CircuitBreakerState
    now: float = 0.0
    in_vain: int = 0
    delivered: list[float] = field(default_factory=list)
    calls: list[tuple[float, int, bool, Permit]] = field(default_factory=list)
    number: int = 0

    def until(self, end: float) -> Run:
        while self.now < end:
            while len(self.calls) < WORKERS and self.breaker.permits(self.now):
                self._send()
            self._wait()
            while self.calls and self.calls[0][0] <= self.now:
                self._end()
        return self

    def _send(self) -> None:
        down = self.down[0] <= self.now < self.down[1]
        permit = self.breaker.acquire(self.now, 1)
        self.in_vain += down
        self.number += 1
        ends = self.now + (self.fails_after if down else ANSWERS)
        heapq.heappush(self.calls, (ends, self.number, down, permit))

    def _wait(self) -> None:
        ends = self.calls[0][0] if self.calls else NEVER
        opens = self.breaker.retry_at(self.now) if len(self.calls) < WORKERS else NEVER
        assert min(ends, opens) > self.now, "it would spin"
        assert min(ends, opens) < NEVER, "it would stand still"
        self.now = min(ends, opens)

    def _end(self) -> None:
        _, _, failed, permit = heapq.heappop(self.calls)
        permit.finish(self.now, 1, Unavailable("503") if failed else None)
        if not failed:
            self.delivered.append(self.now)

    def rate(self, second: float) -> int:
        return sum(second <= at < second + 1 for at in self.delivered)


def outage(length: float, fails_after: float, seed: int) -> Run:
    breaker = CircuitBreakerState(CircuitBreaker(), random=random.Random(seed).random)
    return Run((10, 10 + length), fails_after, breaker)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fails_after", [0.001, 10])
def test_hardly_anything_is_sent_while_it_is_down(fails_after: float, seed: int) -> None:
    run = outage(600, fails_after, seed).until(610)
    assert 10 <= run.in_vain <= WORKERS + 60, "those under way, and a probe every ten seconds"


@pytest.mark.parametrize("fails_after", [0.001, 10])
def test_when_it_is_back_the_first_arrives_and_then_ever_more_until_the_rate_is_full(
    fails_after: float,
) -> None:
    run = outage(30, fails_after, seed=1).until(90)
    first = next(at for at in run.delivered if at > 40)
    assert first - 40 <= 10 * 1.2
    rates = [run.rate(first + second) for second in range(12)]
    assert rates[0] < 100, "no storm"
    assert rates[:7] == sorted(rates[:7])
    assert rates[11] == pytest.approx(WORKERS / ANSWERS, rel=0.01)
    assert run.breaker.state == "closed"


@given(st.data())
def test_whoever_waits_until_it_says_gets_on_and_nothing_leaks(data: st.DataObject) -> None:
    jitter = data.draw(st.sampled_from([0.0, 0.5]))
    at = CircuitBreakerState(CircuitBreaker(), random=lambda: jitter)
    calls: list[tuple[Permit, int]] = []
    now = data.draw(st.sampled_from([0.0, 1e6]))
    for _ in range(data.draw(st.integers(1, 60))):
        room, opens = at.permits(now), at.retry_at(now)
        assert room >= 0
        assert opens >= now
        assert (at.opened_at is None) == (at.state == "closed")
        if room:
            count = data.draw(st.integers(1, min(room, 20)))
            calls.append((at.acquire(now, count), count))
            assert at.state != "half-open" or (count, at.permits(now)) == (1, 0)
        elif opens < NEVER:
            now = opens
            assert at.permits(now) > 0 or at.retry_at(now) > now
        else:
            assert calls, "nobody would ever send again"
        if calls and data.draw(st.booleans()):
            permit, count = calls.pop(data.draw(st.integers(0, len(calls) - 1)))
            now += data.draw(st.sampled_from([0.0, 0.02, 7.0]))
            how = data.draw(st.sampled_from(["ok", "down", "down", "gone"]))
            if how == "gone":
                permit.finish(now, 0, None)
            else:
                permit.finish(now, count, Unavailable() if how == "down" else None)
    for permit, _ in calls:
        permit.finish(now, 0, None)
    for _ in range(3):
        now = max(now, at.retry_at(now))
    assert at.permits(now) > 0
