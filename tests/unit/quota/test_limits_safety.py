"""Never more than the whole, whatever happens: messages late, lost, doubled or in another order,
workers that crash, leave or stand still, coordinators that are replaced and come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from limits_world import Worker, World
from trunkline.streams.admission.token_bucket import BURST
from trunkline.streams.quota.fair_share import Share

WHOLES = [Share(10.0, 3), Share(0.5, None), Share(None, 1), Share(300.0, 20), Share(2.0, 1)]
CHANCE = st.sampled_from([0.0, 0.01, 0.05, 0.2])


@dataclass(frozen=True)
class Troubles:
    """How likely each trouble is: per message, or per worker and step."""

    lost: float
    twice: float
    late: float
    stands_still: float
    crashes: float
    reads_slowly: float
    ends_slowly: float
    changes_demand: float


@dataclass
class Chaos:
    """Troubles that are thrown at a world, by dice."""

    world: World
    troubles: Troubles
    dice: Random
    coming: list[tuple[float, bytes]] = field(default_factory=list)
    still_until: dict[int, float] = field(default_factory=dict)
    ever: int = 0

    def step(self) -> None:
        """A moment passes: everybody does something, or not."""
        if len(self.world.workers) < self.dice.choice([1, 3, 4, 4]):
            self.world.join(skew=self.dice.uniform(-1000, 1000)).demand = True
            self.ever += 1
        for worker in list(self.world.workers):
            if self.still_until.get(id(worker), 0) <= self.world.now:
                self.act(worker)
                self.world.check()
        self.arrivals()
        self.world.advance(self.dice.choice([0.01, 0.03, 0.1, 0.3]))
        self.world.check()

    def happens(self, chance: float) -> bool:
        return self.dice.random() < chance

    def act(self, worker: Worker) -> None:
        troubles = self.troubles
        self.world.read(worker, 2 if self.happens(troubles.reads_slowly) else 1000)
        worker.demand ^= self.happens(troubles.changes_demand)
        for _ in range(30 if worker.demand else 0):
            self.world.send(worker)
        while worker.calls and not self.happens(troubles.ends_slowly):
            self.world.end(worker)
        self.speak(worker)
        if self.happens(troubles.stands_still):
            self.still_until[id(worker)] = self.world.now + self.dice.expovariate(1 / 6)
        elif self.happens(troubles.crashes):
            self.go(worker)

    def speak(self, worker: Worker) -> None:
        self.world.speak(worker)
        said, self.world.under_way = self.world.under_way, []
        for record in said:
            for _ in range(1 + self.happens(self.troubles.twice)):
                late = self.happens(self.troubles.late)
                delay = self.dice.expovariate(1 / 3 if late else 1 / 0.02)
                self.coming.append((self.world.now + delay, record))

    def go(self, worker: Worker) -> None:
        """It crashes; or it leaves, and uses nothing from then on."""
        if not worker.calls and self.happens(0.5):
            self.world.put_on_its_way(worker.member.leave(self.world.clock(worker)))
            self.coming += [(self.world.now, record) for record in self.world.under_way]
            self.world.under_way = []
        self.world.crash(worker)

    def arrivals(self) -> None:
        here = sorted((c for c in self.coming if c[0] <= self.world.now), key=lambda c: c[0])
        self.coming = [c for c in self.coming if c[0] > self.world.now]
        self.world.log += [record for _, record in here if not self.happens(self.troubles.lost)]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ),  # dice do not shrink: their seed repeats them
)
@given(
    whole=st.sampled_from(WHOLES),
    troubles=st.builds(Troubles, *[CHANCE] * 6, st.sampled_from([0.0, 0.2, 0.9]), CHANCE),
    seed=st.integers(0, 10**9),
)
# A worker gives back what it has; then an older demand of it comes, which claims that still.
@example(Share(0.5, None), Troubles(0.05, 0.2, 0.05, 0.0, 0.0, 0.05, 0.2, 0.01), 191021)
# A grant that was overtaken on its way is none: nobody holds what it says.
@example(Share(10.0, 3), Troubles(0.0, 0.0, 0.2, 0.01, 0.0, 0.2, 0.9, 0.0), 549487373)
# Who slept knows of shares that are long over, and becomes coordinator.
@example(Share(300.0, 20), Troubles(0.0, 0.0, 0.05, 0.05, 0.0, 0.2, 0.0, 0.0), 816044614)
def test_never_more_than_the_whole(whole: Share, troubles: Troubles, seed: int) -> None:
    chaos = Chaos(World(whole, seed), troubles, Random(seed))
    for _ in range(250):
        chaos.step()
    if whole.rate is not None:
        check_every_window(chaos.world.sent_at, whole.rate, whole.rate * BURST + chaos.ever + 1)


def check_every_window(sent: list[float], rate: float, burst: float) -> None:
    """In any time, no more events than the rate lets through and the burst that is promised."""
    excess = 0.0  # the largest over any window that ends here, in one pass (Kadane's algorithm)
    for index, at in enumerate(sent):
        passed = (at - sent[index - 1]) * rate if index else 0.0
        excess = max(0.0, excess - passed) + 1
        assert excess <= burst + 1e-6
