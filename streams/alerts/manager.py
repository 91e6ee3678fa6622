"""A worker's part in alerting: what it sees goes into shared alarms, what is due goes to people.

Every worker of a flow does the same, and the control topic makes them agree: one notice when a
condition begins, reminders, one when it is over, whichever worker sends them (``alarms``). If
the control topic cannot be written, each worker speaks for itself: twice is better than never.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trunkline.kafka import KafkaUnavailable
from trunkline.streams.alerts.alarm import HEARTBEAT, Alarm, Due, first_episode
from trunkline.streams.alerts.channels import Channel
from trunkline.streams.alerts.conditions import ConditionMonitor, Observation
from trunkline.streams.alerts.kinds import KINDS
from trunkline.streams.alerts.notification import Subject, notice_of
from trunkline.streams.alerts.outbox import Outbox
from trunkline.streams.control.records import AlertKey
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.flow.alert import Alert
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks at everything that is watched."""

CLAIM_SETTLE = 5.0
"""Seconds from a claim to its notice, in which the other workers' claims arrive."""

UNSHARED_TIMEOUT = 30.0
"""Seconds after which a worker sends although its claim did not come back from the topic."""

REMINDER = 4 * 3600.0
"""Seconds between reminders, if nothing else is configured."""


@dataclass(slots=True)
class _Claimed:
    """A claim of this worker. ``posted``: its notice is in the outbox; ``paused``: it waits anew,
    once, since this worker stood still."""

    notice: tuple[int, int]
    at: float
    posted: bool = False
    paused: bool = False


class AlertManager:
    """The alerts of one flow in one worker. For the event loop only.

    ``channels``: how people are reached; with none the log alone says it. ``reminder``: seconds.
    ``worker``: a name that no other worker has. ``clock``: epoch seconds. ``failure``: what ended
    it; the worker must end then.
    """

    def __init__(
        self,
        control: ControlTopic,
        channels: Sequence[Channel] = (),
        *,
        flow: str,
        reminder: float = REMINDER,
        worker: str = "",
        clock: Callable[[], float] = time.time,
        retry_first: float = 1.0,
    ) -> None:
        self.failure: BaseException | None = None
        self._control = control
        self._flow = flow
        self._reminder = reminder
        self._me = worker or uuid.uuid4().hex[:8]
        self._clock = clock
        self._outbox = Outbox(channels, first=retry_first)
        self._watches: dict[tuple[str, str], ConditionMonitor] = {}
        self._alarms: dict[str, Alarm] = {}
        self._shared: dict[str, Alarm] = {}  # as the control topic has them
        self._claims: dict[str, _Claimed] = {}
        self._looked = 0.0
        self._ticking: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def watch(
        self, name: str, policy: Alert | None = None, *, step: str = "deliver"
    ) -> ConditionMonitor:
        """What the engine tells of a destination, or of a source (``step="publish"``) or a flow's
        routing (``step="route"``). The same watch for the same name."""
        watch = ConditionMonitor(policy or Alert(), self._clock)
        return self._watches.setdefault((step, name), watch)

    async def start(self) -> None:
        """Begin; ``control`` has been started."""
        self._unsubscribe = self._control.subscribe(AlertKey.PREFIX, self._learned)
        self._outbox.start()
        self._ticking = supervised_task(self._run(), f"{self._flow}-alerts", self._failed)

    async def stop(self, grace: float = 5.0) -> None:
        """Send what is due for ``grace`` seconds more, and as long write what was told."""
        if self._ticking is None:
            return
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        await self._outbox.stop(grace)
        self._unsubscribe()
        await self._written(grace)
        self._write()
        await self._written(grace)
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    def evaluate(self) -> None:
        """One look at everything: called every second, never blocks."""
        now = round(self._clock(), 3)
        self._detect_stall(now)
        seen = self._seen()
        for key, observation in seen.items():
            self._observe(key, observation, now)
        for key, alarm in list(self._alarms.items()):
            if not alarm.resolved:
                self._tell(key, alarm, seen.get(key), now)
        self._write()

    async def _run(self) -> None:
        while True:
            self.evaluate()
            await asyncio.sleep(TICK)

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure

    # What is seen, here and by others

    def _seen(self) -> dict[str, Observation]:
        return {
            Subject(self._flow, step, name, observation.kind.name).key: observation
            for (step, name), watch in self._watches.items()
            for observation in watch.observations()
        }

    def _observe(self, key: str, observation: Observation, now: float) -> None:
        alarm = self._alarms.get(key)
        if alarm is None:
            self._alarms[key] = first_episode(self._me, observation)
        else:
            self._alarms[key] = alarm.observed(self._me, observation, now)

    def _learned(self, key: str, value: Mapping[str, Any] | None) -> None:
        if value is None:
            self._alarms.pop(key, None)
            self._shared.pop(key, None)
        elif Subject.of_key(self._flow, key) and (alarm := _parsed(key, value)) is not None:
            mine = self._alarms.get(key, alarm).merge(alarm)
            self._shared[key] = alarm
            self._alarms[key] = alarm if mine == alarm else mine

    # What people are told

    def _tell(self, key: str, alarm: Alarm, seen: Observation | None, now: float) -> None:
        """The next step towards the next notice, if one is due: claim, wait, send, hold on."""
        subject = Subject.of_key(self._flow, key)
        due = alarm.due(now, KINDS[key.rpartition("/")[2]], self._reminder)
        if due is None or subject is None:
            return
        mine = self._claim_of(key, alarm)
        if mine is None:
            if not alarm.is_claimed(now):
                self._claim(key, alarm, now)
        elif mine.posted:
            self._hold(key, alarm, now)
        elif self._is_settled(key, mine, due, now):
            alarm = alarm if seen is None else alarm.caught_up(self._me, seen)
            mine.posted = True
            self._post(key, subject, alarm, due, now)

    def _claim(self, key: str, alarm: Alarm, now: float) -> None:
        self._alarms[key] = alarm.claimed(self._me, now)
        self._claims[key] = _Claimed((alarm.episode, alarm.notified + 1), now)

    def _claim_of(self, key: str, alarm: Alarm) -> _Claimed | None:
        """This worker's claim of the alarm's next notice, if it has it."""
        mine, claim = self._claims.get(key), alarm.claim
        if mine is None or claim is None or claim.worker != self._me:
            return None
        return mine if mine.notice == (alarm.episode, alarm.notified + 1) else None

    def _hold(self, key: str, alarm: Alarm, now: float) -> None:
        """While no channel took the notice yet, no other worker shall begin with it."""
        if alarm.claim is not None and now - alarm.claim.at >= HEARTBEAT:
            self._alarms[key] = alarm.claimed(self._me, now)

    def _is_settled(self, key: str, mine: _Claimed, due: Due, now: float) -> bool:
        shared = self._shared.get(key)
        if shared is not None and shared.claim == self._alarms[key].claim:
            return now - mine.at >= CLAIM_SETTLE
        # Without the topic nobody knows what the others see: nothing is said to be over.
        return due != "resolved" and now - mine.at >= UNSHARED_TIMEOUT

    def _post(self, key: str, subject: Subject, alarm: Alarm, due: Due, now: float) -> None:
        self._alarms[key] = alarm
        notice = notice_of(subject, alarm, due, now)
        self._outbox.post(notice, partial(self._told, key, alarm.episode, notice.number, now, due))

    def _told(self, key: str, episode: int, number: int, at: float, due: Due) -> None:
        alarm = self._alarms.get(key)
        if alarm is not None and alarm.episode == episode:
            self._alarms[key] = alarm.after_telling(number, at, due)

    def _detect_stall(self, now: float) -> None:
        """A worker that stood still (SIGSTOP, swapping) reads first what the others did."""
        if now - self._looked > CLAIM_SETTLE:
            for claim in self._claims.values():
                claim.at = claim.at if claim.paused else now
                claim.paused = True
        self._looked = now

    # What is shared

    def _write(self) -> None:
        """Write the alarms that the topic does not have yet, unless a write is under way."""
        if self._writing is None or self._writing.done():
            new = {k: a for k, a in self._alarms.items() if a != self._shared.get(k)}
            if new:
                self._writing = supervised_task(
                    self._put(new), f"{self._flow}-alarms", self._failed
                )

    async def _written(self, grace: float) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=grace)

    async def _put(self, alarms: Mapping[str, Alarm]) -> None:
        try:
            for key, alarm in alarms.items():
                await self._control.put(key, alarm.to_json())
        except KafkaUnavailable as error:
            log.warning("alerts cannot be shared with other workers now: %s", error)


def _parsed(key: str, value: Mapping[str, Any]) -> Alarm | None:
    try:
        return Alarm.from_json(value)
    except (KeyError, TypeError, ValueError) as error:
        log.error("the control record %r is no alarm and is replaced: %r", key, error)
        return None
