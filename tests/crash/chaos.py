"""What happens to workers, to the broker and to a table, drawn from one seed: ``kill -9``, SIGSTOP
beyond the session, scaling, a broker that is killed and comes back, a table that goes and comes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from broker import Broker
from stored_table import StoredTable

from trunkline.kafka import OFFSETS_TIMEOUT
from worker_kit import WorkerProcess, Workers

ACTIONS = (
    *("kill", "kill", "freeze", "grow", "shrink", "kill_router", "restart_broker"),
    *("hide_table", "hide_table"),
)
"""Each of these happens before one happens again."""
BUSY = 20_000
"""Bytes in the API's logs, some hundred requests, after which something is going on again."""
SESSION = 10.0
"""Seconds after which Kafka gives a silent worker's partitions to another."""
AFTER_WAKING = 5.0
"""Seconds in which a worker that was frozen must have learnt what it has lost."""
AFTER_BROKER = 20.0 + OFFSETS_TIMEOUT
"""Seconds that a broker which is back may take until groups and transactions are sound, and that a
commit which was begun by then may stand, of which librdkafka has lost the offsets."""


@dataclass(frozen=True)
class Strike:
    """Something that explains repeats: of what ``worker`` applied (None: any worker) until ``end``
    and came again after ``begin``. Monotonic times."""

    kind: str
    begin: float
    end: float
    worker: int | None = None

    def __str__(self) -> str:
        return self.kind if self.worker is None else f"{self.kind} {self.worker}"


class Mayhem:
    """Strikes until its time is over; then all are awake, and one of each role works.

    ``heard``: how long the API's logs are. It strikes again when something was delivered since:
    what stands still cannot be hurt.
    """

    def __init__(
        self,
        workers: Workers,
        broker: Broker,
        seed: int,
        heard: Callable[[], int],
        table: StoredTable,
    ) -> None:
        self._table = table
        self._heard = heard
        self._workers = workers
        self._broker = broker
        self._random = random.Random(seed)
        self._frozen: list[tuple[float, WorkerProcess]] = []
        self._actions: list[str] = []
        self.strikes: list[Strike] = []

    def run(self, seconds: float) -> None:
        """Strike for so long."""
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            heard = self._heard()
            self._rest(self._random.uniform(2, 6))
            while self._heard() < heard + BUSY and time.monotonic() < begin + seconds:
                self._rest(0.1)
            self._actions = self._actions or self._random.sample(ACTIONS, len(ACTIONS))
            action = self._actions.pop()
            print(f"{time.monotonic() - begin:6.1f} s: {action}", flush=True)
            getattr(self, action)()
        while self._frozen:
            self._rest(0.1)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.05)
            for waking in [one for one in self._frozen if one[0] <= time.monotonic()]:
                self._frozen.remove(waking)
                waking[1].wake()

    def _awake(self) -> list[WorkerProcess]:
        """Workers that deliver and are not frozen; at least one."""
        frozen = [worker for _, worker in self._frozen]
        awake = [worker for worker in self._workers.of("deliver") if worker not in frozen]
        return awake or [self._workers.start("deliver")]

    def _strike(self, kind: str, lasting: float = 0.0, worker: WorkerProcess | None = None) -> None:
        now, pid = time.monotonic(), worker.process.pid if worker else None
        self.strikes.append(Strike(kind, now, now + lasting, pid))

    def kill(self) -> None:
        """``kill -9`` to one, and another in its place."""
        victim = self._random.choice(self._awake())
        self._workers.kill(victim)
        self._strike("kill", worker=victim)
        self._workers.start("deliver")

    def freeze(self) -> None:
        """SIGSTOP to one until others have its partitions."""
        victim, lasting = self._random.choice(self._awake()), SESSION + self._random.uniform(2, 5)
        victim.freeze()
        self._strike("freeze", lasting + AFTER_WAKING, victim)
        self._frozen.append((time.monotonic() + lasting, victim))
        self._awake()

    def grow(self) -> None:
        """To three that deliver."""
        while len(self._workers.of("deliver")) < 3:
            self._workers.start("deliver")

    def shrink(self) -> None:
        """All but one that deliver end, cleanly."""
        if leaving := self._awake()[1:]:
            self._workers.stop(*leaving)

    def kill_router(self) -> None:
        """``kill -9`` to the one that routes; it makes no repeats, so it explains none."""
        self._workers.kill(self._workers.of("route")[0])
        self._workers.start("route")

    def restart_broker(self) -> None:
        """``kill -9`` to the broker, which goes on with its data after a while."""
        begin = time.monotonic()
        self._broker.kill()
        self._rest(self._random.uniform(0.5, 3))
        self._broker.up()
        self.strikes.append(Strike("broker", begin, time.monotonic() + AFTER_BROKER))

    def hide_table(self) -> None:
        """The table that a destination writes to is away for a while."""
        while not self._table.hide():  # a worker is frozen in the middle of a transaction
            self._rest(0.5)
        self._rest(self._random.uniform(1, 4))
        self._table.show()
