"""Never more than the whole, whatever happens: messages late, lost, doubled or in another order,
workers that crash or stand still, coordinators that are replaced and come back."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from limits_world import World

from trunkline.streams.limits import BURST, Share

WHOLES = [Share(10.0, 3), Share(0.5, None), Share(None, 1), Share(1000.0, 100)]
PICK = st.integers(0, 1_000_000)


class Limits(RuleBasedStateMachine):
    """Each rule is something that can happen at any moment."""

    @initialize(whole=st.sampled_from(WHOLES), seed=st.integers(0, 1000))
    def begin(self, whole: Share, seed: int) -> None:
        self.world = World(whole, seed)
        self.ever = 0

    def worker(self, pick: int):  # type: ignore[no-untyped-def]
        return self.world.workers[pick % len(self.world.workers)]

    @precondition(lambda self: len(self.world.workers) < 4)
    @rule(skew=st.floats(-1000, 1000))
    def starts(self, skew: float) -> None:
        self.world.join(skew)
        self.ever += 1

    @precondition(lambda self: self.world.workers)
    @rule(pick=PICK)
    def crashes(self, pick: int) -> None:
        self.world.crash(self.worker(pick))

    @precondition(lambda self: self.world.workers)
    @rule(pick=PICK)
    def leaves(self, pick: int) -> None:
        worker = self.worker(pick)
        while worker.calls:
            self.world.end(worker)
        self.world.under_way += worker.participant.leave(self.world.clock(worker))
        self.world.crash(worker)

    @precondition(lambda self: self.world.workers)
    @rule(pick=PICK)
    def tries_to_send(self, pick: int) -> None:
        self.world.send(self.worker(pick))

    @precondition(lambda self: self.world.workers)
    @rule(pick=PICK, times=st.integers(1, 200))
    def sends_what_it_may(self, pick: int, times: int) -> None:
        for _ in range(times):
            self.world.send(self.worker(pick))

    @precondition(lambda self: any(worker.calls for worker in self.world.workers))
    @rule(pick=PICK)
    def call_ends(self, pick: int) -> None:
        busy = [worker for worker in self.world.workers if worker.calls]
        self.world.end(busy[pick % len(busy)])

    @precondition(lambda self: self.world.workers)
    @rule(pick=PICK)
    def speaks(self, pick: int) -> None:
        self.world.speak(self.worker(pick))

    @precondition(lambda self: self.world.workers)
    @rule(pick=PICK, count=st.integers(1, 5))
    def reads(self, pick: int, count: int) -> None:
        self.world.read(self.worker(pick), count)

    @rule(pick=PICK, lost=st.booleans(), twice=st.booleans())
    def message_arrives(self, pick: int, lost: bool, twice: bool) -> None:
        if self.world.under_way:
            self.world.arrive(pick % len(self.world.under_way), lost=lost, twice=twice)

    @rule(seconds=st.floats(0.01, 8.0))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.world.workers)
    @rule(demand=st.lists(st.booleans(), min_size=4, max_size=4), seconds=st.floats(0.1, 4.0))
    def all_is_well_for_a_while(self, demand: list[bool], seconds: float) -> None:
        for worker, wanted in zip(self.world.workers, demand, strict=False):
            worker.demand = wanted
        self.world.run(seconds, step=0.05)

    @invariant()
    def never_more_than_the_whole(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """Over any time, no more events than the rate allows and the burst that is promised."""
        rate = self.world.whole.rate if hasattr(self, "world") else None
        if rate is None:
            return
        sent = sorted(self.world.sent_at)
        burst = rate * BURST + self.ever + 1
        worst = 0.0  # the largest excess over any window, in one pass (Kadane)
        for index, at in enumerate(sent):
            passed = (at - sent[index - 1]) * rate if index else 0.0
            worst = max(0.0, worst - passed) + 1
            assert worst <= burst + 1e-6


TestLimits = Limits.TestCase
TestLimits.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
