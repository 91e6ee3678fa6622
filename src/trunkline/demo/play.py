"""The course of events: the rows that are there, a steady day, a rush, and the end."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import orjson

from trunkline.demo import expect
from trunkline.demo.airport import transactions
from trunkline.demo.history import History
from trunkline.demo.records import Flight, flights, sights
from trunkline.demo.scene import TOKEN, Scene
from trunkline.demo.screen import Counts, Screen
from trunkline.demo.timeline import Change, Notice, changes, notices
from trunkline.errors import TrunklineError

BEFORE = 0.4
"""The share of the changes that are made before Trunkline starts: its snapshot reads the rows."""
STEADY_SECONDS = 20
STEADY_SIZE, RUSH_SIZE = 10, 500
"""Changes of a transaction."""
QUIET_SECONDS = 45.0
"""Nothing has come for so long: nothing will."""
_AGAIN_SECONDS = 1.0
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

    def prepare(self) -> None:
        """The airport's table with its rows, and the witness."""
        self.scene.mart.watch()
        self.scene.airport.make(self.script.rows)
        self.history.began(self.script.rows)

    def live(self, rate: int) -> None:
        """All changes: steadily, then as fast as the airport can."""
        desk = ThreadPoolExecutor(1, "notices")
        try:
            self.screen.stage(f"steady: {len(self.script.steady):,} changes, {rate} a second")
            self.times.steady = time.time()
            later = self._commit(self.script.steady, STEADY_SIZE, self.script.notices, desk, rate)
            self.screen.stage(f"rush: {len(self.script.rush):,} changes as fast as can be")
            self.times.rush = time.time()
            self._commit(self.script.rush, RUSH_SIZE, later, desk)
        finally:
            desk.shutdown(cancel_futures=True)

    def settle(self) -> None:
        """Wait until every destination has everything, or until nothing comes any more."""
        alerts, entries = (
            counted(expect.alerts(self.history)),
            counted(expect.entries(self.history)),
        )
        last, since = Counts(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            self.scene.check()
            now = self.screen.show(self._counts())
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
        notices: Sequence[Notice],
        desk: ThreadPoolExecutor,
        rate: float = 0.0,
    ) -> Sequence[Notice]:
        """Commit changes and send the notices between them; returns the notices of later."""
        begin, done = time.monotonic(), 0
        sent: list[Future[None]] = []
        for group in transactions(todo, size):
            while len(sent) < len(notices) and notices[len(sent)].moment <= group[0].moment:
                sent.append(desk.submit(self._send, notices[len(sent)]))
            self.history.committed(group, self.scene.airport.commit(group))
            done += len(group)
            self._tick()
            if rate:
                time.sleep(max(0.0, begin + done / rate - time.monotonic()))
        for future in sent:
            future.result()
        return notices[len(sent) :]

    def _send(self, notice: Notice) -> None:
        """Send a notice until it is accepted. Raises TrunklineError if it is refused."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        body = orjson.dumps(notice.body())
        request = urllib.request.Request(self.scene.notices, body, headers, method="POST")
        moment = time.time()
        deadline = time.monotonic() + QUIET_SECONDS
        while not _accepted(request):
            if time.monotonic() > deadline:
                raise TrunklineError(f"{self.scene.notices} takes no notices; see the worker's log")
            time.sleep(_AGAIN_SECONDS)
        self.history.sent(notice, moment)

    def _tick(self) -> None:
        if self.screen.is_due():
            self.scene.check()
            self.screen.show(self._counts())

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


def _accepted(request: urllib.request.Request) -> bool:
    """Whether the webhook took it (202); False: again later. Raises TrunklineError for a 4xx."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bool(answer.status == 202)
    except urllib.error.HTTPError as error:
        if error.code < 500:
            raise TrunklineError(f"the webhook refuses a notice: {error.code}") from error
        return False
    except OSError:  # not listening yet, or again soon
        return False
