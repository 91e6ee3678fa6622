"""The course of events: the rows that are there, a steady day, a rush with an outage, the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from trunkline.demo import corrections, expect
from trunkline.demo.airport import transactions
from trunkline.demo.corrections import Answers, CorrectionDesk
from trunkline.demo.desk import Desk
from trunkline.demo.history import History
from trunkline.demo.outage import Outage
from trunkline.demo.records import Flight, flights, sights
from trunkline.demo.scene import TOKEN, Scene
from trunkline.demo.screen import Counts, Screen
from trunkline.demo.timeline import Change, Notice, changes, notices

BEFORE = 0.4
"""The share of the changes that are made before Trunkline starts, for its snapshot to read."""
STEADY_SECONDS = 20
STEADY_SIZE, RUSH_SIZE = 10, 500
"""Changes in one transaction, in the steady part and in the rush."""
QUIET_SECONDS = 45.0
"""Seconds without an arrival after which the play ends, and the proof says what is missing."""
_POLL_SECONDS = 0.25


@dataclass
class Script:
    """What is to happen: rows that are there at the start, then changes and notices."""

    rows: list[Flight]
    steady: list[Change]
    rush: list[Change]
    notices: list[Notice]


def script(count: int, rate: int) -> Script:
    """Of the first ``count`` flights of the year. Raises MissingExtra without the records."""
    all_of_them = changes(flights(count))
    start = int(len(all_of_them) * BEFORE)
    there = {change.id: change.row for change in all_of_them[:start]}
    live = all_of_them[start:]
    steady = min(rate * STEADY_SECONDS, len(live) // 2)
    return Script(
        rows=[row for row in there.values() if row is not None],
        steady=live[:steady],
        rush=live[steady:],
        notices=notices(sights(), live),
    )


@dataclass
class Times:
    """When (``time.time()``) each part of the play began."""

    steady: float = 0.0
    rush: float = 0.0


@dataclass
class Play:
    """Goes through a script on a scene, and writes down what it did."""

    scene: Scene
    script: Script
    screen: Screen
    history: History = field(default_factory=History)
    times: Times = field(default_factory=Times)
    answers: Answers = field(default_factory=Answers)
    """What the gateway has answered to the desk's corrections."""

    def __post_init__(self) -> None:
        scene = self.scene
        self._outage = Outage("operations", scene.operations, scene.pages, self.screen.stage)

    def prepare(self) -> None:
        """The airport's table with its rows, and the witness."""
        self.scene.mart.watch()
        self.scene.airport.make(self.script.rows)
        self.history.began(self.script.rows)

    def live(self, rate: int, outage: float) -> None:
        """All changes: steadily, then as fast as the airport can; and the notices between them.

        When the rush begins, operations are out of service for ``outage`` seconds.
        """
        notices = deque(self.script.notices)
        corrected = [row.id for row in self.script.rows[: corrections.EACH]]
        gateway, key = self.scene.gateway
        with (
            Desk(self.scene.notices, TOKEN, self.history) as desk,
            CorrectionDesk(gateway, key, corrected, self.history, self.answers) as calls,
        ):
            self.screen.stage(f"steady: {len(self.script.steady):,} changes, {rate} a second")
            self.times.steady = time.time()
            calls.steady()
            self._commit(self.script.steady, STEADY_SIZE, notices, desk, rate)
            while (
                not calls.is_done()
            ):  # or the one in the outage would be made behind them, too late
                self._tick()
                time.sleep(_POLL_SECONDS)
            self.screen.stage(f"rush: {len(self.script.rush):,} changes as fast as can be")
            self.times.rush = time.time()
            if outage:
                self._outage.begin(outage)
                calls.while_down()
            self._commit(self.script.rush, RUSH_SIZE, notices, desk)
            calls.ask_for_the_rest()
            while not (desk.is_done() and calls.is_done()):
                self._tick()
                time.sleep(_POLL_SECONDS)

    def settle(self) -> None:
        """Wait until every destination has everything, or until nothing comes any more."""
        alerts = counted(expect.alerts(self.history)) + counted(expect.corrections(self.history))
        entries = counted(expect.entries(self.history))
        last, since = Counts(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            now = self._look()
            arrived = now.operations >= alerts and now.board >= entries and now.mart == last.mart
            if arrived and self.scene.mart.digest() == self.scene.source.digest():
                return
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(_POLL_SECONDS)

    def _commit(
        self,
        todo: Sequence[Change],
        size: int,
        notices: deque[Notice],
        desk: Desk,
        rate: float = inf,
    ) -> None:
        begin, done = time.monotonic(), 0
        for group in transactions(todo, size):
            while notices and notices[0].moment <= group[0].moment:
                desk.send(notices.popleft())
            self.history.committed(group, self.scene.airport.commit(group))
            done += len(group)
            self._tick()
            time.sleep(max(0.0, begin + done / rate - time.monotonic()))

    def _tick(self) -> None:
        if self.screen.is_due():
            self._look()

    def _look(self) -> Counts:
        self.scene.check()
        self._outage.look()
        return self.screen.show(self._counts())

    def _counts(self) -> Counts:
        return Counts(
            airport=self.history.changes + len(self.history.notices),
            operations=self.scene.operations.count(),
            mart=self.scene.mart.count(),
            board=self.scene.board.count(),
        )


def counted(due: expect.Expectation) -> int:
    """The number of its messages."""
    return sum(len(messages) for messages in due.values())
