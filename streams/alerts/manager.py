"""A worker's part in alerting: what it sees goes into shared alarms, what is due goes to people.

Every worker of a flow does the same, and the control topic makes them agree: one notification when
a condition begins, reminders, one when it is over, whichever worker sends them (``alarm.py``). If
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
from trunkline.streams.alerts.alarm import RENEWAL_INTERVAL, Alarm, Due, first_episode
from trunkline.streams.alerts.channels import Channel
from trunkline.streams.alerts.conditions import ConditionMonitor, Observation
from trunkline.streams.alerts.kinds import DEAD_LETTERS, KINDS
from trunkline.streams.alerts.notification import Subject, notification_of
from trunkline.streams.alerts.outbox import Outbox
from trunkline.streams.alerts.unhandled import LetterCount, LetterCounter, UnhandledLetters
from trunkline.streams.control.records import AlertKey
from trunkline.streams.control.topic import ControlTopic
from trunkline.streams.flow.alert import Alert
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)

EVALUATION_INTERVAL = 1.0
"""Seconds between two looks at all conditions and alarms."""

CLAIM_SETTLE = 5.0
"""Seconds from a claim to its notification, in which the other workers' claims arrive."""

UNSHARED_TIMEOUT = 30.0
"""Seconds after which a worker sends although its claim did not come back from the topic."""

REMINDER_INTERVAL = 4 * 3600.0
"""Seconds between reminders, if nothing else is configured."""


@dataclass(slots=True)
class _OwnClaim:
    """A claim of this worker. ``notification``: the alarm's episode and the number in it; ``at``:
    since when it is waited whether the claim holds; ``in_outbox``: the notification is on its way;
    ``stalled``: the wait began anew, once, since this worker stood still."""

    notification: tuple[int, int]
    at: float
    in_outbox: bool = False
    stalled: bool = False


class AlertManager:
    """The alerts of one flow in one worker. For the event loop only.

    ``channels``: how people are reached; with none the log alone says it. ``letters``: counts the
    dead letters that nobody has handled; without it people are told how many died. ``reminder``:
    seconds. ``worker``: a name that no other worker has. ``clock``: epoch seconds. ``failure``:
    what ended it; the worker must end then.
    """

    def __init__(
        self,
        control: ControlTopic,
        channels: Sequence[Channel] = (),
        *,
        flow: str,
        letters: LetterCounter | None = None,
        reminder: float = REMINDER_INTERVAL,
        worker: str = "",
        clock: Callable[[], float] = time.time,
        retry_first: float = 1.0,
    ) -> None:
        self._broken: BaseException | None = None
        self._control = control
        self._flow = flow
        self._reminder = reminder
        self._me = worker or uuid.uuid4().hex[:8]
        self._clock = clock
        self._outbox = Outbox(channels, first=retry_first)
        self._unhandled = None if letters is None else UnhandledLetters(letters, control, clock)
        self._monitors: dict[tuple[str, str], ConditionMonitor] = {}
        self._alarms: dict[str, Alarm] = {}
        self._shared: dict[str, Alarm] = {}  # as the control topic has them
        self._claims: dict[str, _OwnClaim] = {}
        self._evaluated_at = 0.0
        self._ticking: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def monitor(
        self, name: str, policy: Alert | None = None, *, step: str = "deliver"
    ) -> ConditionMonitor:
        """The monitor of a destination, of a source (``step="publish"``) or of a flow's routing
        (``step="route"``), to which the engine reports. The same one for the same name."""
        monitor = ConditionMonitor(policy or Alert(), self._clock)
        return self._monitors.setdefault((step, name), monitor)

    @property
    def failure(self) -> BaseException | None:
        """An error that nobody foresaw."""
        unforeseen = None if self._unhandled is None else self._unhandled.failure
        return self._broken or unforeseen

    def begin(self) -> None:
        """Follow the control topic, and send what is posted."""
        self._unsubscribe = self._control.subscribe(AlertKey.PREFIX, self._on_record)
        if self._unhandled is not None:
            self._unhandled.start()
        self._outbox.start()

    async def start(self) -> None:
        """Begin, and evaluate every second; ``control`` has been started."""
        self.begin()
        self._ticking = supervised_task(self._run(), f"{self._flow}-alerts", self._failed)

    async def stop(self, grace: float = 5.0) -> None:
        """Send for ``grace`` seconds more, and then write for as long what was sent."""
        if self._ticking is None:
            return
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        if self._unhandled is not None:
            await self._unhandled.stop()
        await self._outbox.stop(grace)
        self._unsubscribe()
        await self._write_ended(grace)
        self._share()
        await self._write_ended(grace)
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    def evaluate(self) -> None:
        """Look at everything: called every second, never blocks.

        1. What this worker sees goes into the alarms.
        2. Where a notification is due, it goes a step further.
        3. What the topic does not have yet is written, in a task.
        """
        now = round(self._clock(), 3)
        self._detect_stall(now)
        self._forget_what_is_over()
        seen = self._observations()
        for key, observation in seen.items():
            alarm = self._alarms.get(key)
            if alarm is None:
                self._alarms[key] = first_episode(self._me, observation)
            else:
                self._alarms[key] = alarm.observed(self._me, observation, now)
        for key, alarm in list(self._alarms.items()):
            if not alarm.resolved:
                self._notify(key, alarm, seen.get(key), now)
        self._share()

    async def _run(self) -> None:
        while True:
            self.evaluate()
            await asyncio.sleep(EVALUATION_INTERVAL)

    def _failed(self, failure: BaseException) -> None:
        self._broken = failure

    # What is seen, here and by others

    def _observations(self) -> dict[str, Observation]:
        return {
            Subject(self._flow, step, name, observation.kind.name).key: observation
            for (step, name), monitor in self._monitors.items()
            for observation in monitor.observations()
        }

    def _forget_what_is_over(self) -> None:
        """What people were told is over, whoever told them, is counted no further."""
        for (step, name), monitor in self._monitors.items():
            alarm = self._alarms.get(AlertKey(step, name, DEAD_LETTERS.name).text)
            if alarm is not None and alarm.resolved:
                monitor.dead_letters_told(alarm.notified_at)

    def _on_record(self, key: str, value: Mapping[str, Any] | None) -> None:
        if value is None:
            self._alarms.pop(key, None)
            self._shared.pop(key, None)
        elif Subject.of_key(self._flow, key) and (alarm := _parsed(key, value)) is not None:
            merged = self._alarms.get(key, alarm).merge(alarm)
            self._shared[key] = alarm
            self._alarms[key] = alarm if merged == alarm else merged

    # What people are told

    def _notify(self, key: str, alarm: Alarm, seen: Observation | None, now: float) -> None:
        """Go a step further towards the alarm's next notification, if one is due.

        1. Nobody has claimed it: claim it.
        2. The claim is this worker's, and the others have had the time to object: send.
        3. It is being sent, or what is left is counted for it: renew the claim until a channel has
           taken it. Without that another worker would begin with it after a minute, while ours
           waits for a mail server.
        """
        subject = Subject.of_key(self._flow, key)
        if subject is None:
            return
        left = self._left(subject, alarm)
        due = self._due(subject, alarm, left, now)
        own = self._own_claim(key, alarm)
        if due is None:
            if own is not None and not own.in_outbox:  # it was due, and is no more
                del self._claims[key]
        elif own is None:
            if not alarm.is_claimed(now):
                self._alarms[key] = alarm.claimed_by(self._me, now)
                self._claims[key] = _OwnClaim((alarm.episode, alarm.notified + 1), now)
        elif own.in_outbox or (due != "firing" and self._counts(subject)):
            if alarm.claim is not None and now - alarm.claim.at >= RENEWAL_INTERVAL:
                self._alarms[key] = alarm.claimed_by(self._me, now)
        elif self._is_settled(key, own, due, now) and self._is_counted(
            subject, alarm, left, due, own
        ):
            newest = alarm if seen is None else alarm.caught_up(self._me, seen)
            self._alarms[key] = newest
            if self._due(subject, newest, left, now) == due:  # it is so to this very moment
                own.in_outbox = True
                self._post(subject, newest, due, now, left)

    def _post(
        self, subject: Subject, alarm: Alarm, due: Due, now: float, left: LetterCount | None
    ) -> None:
        message = notification_of(subject, alarm, due, now, left.letters if left else None)
        on_sent = partial(self._on_sent, subject.key, alarm.episode, message.number, now, due)
        if due == "resolved" and subject.kind == DEAD_LETTERS.name:
            monitor = self._monitors.get((subject.step, subject.name))
            if monitor is not None:  # not later: a channel may take it in an hour only
                monitor.dead_letters_told(now)
        self._outbox.post(message, on_sent)

    def _due(
        self, subject: Subject, alarm: Alarm, left: LetterCount | None, now: float
    ) -> Due | None:
        handled = left is not None and left.letters == 0 and left.began > alarm.seen
        return alarm.due(now, KINDS[subject.kind], self._reminder, handled=handled)

    def _left(self, subject: Subject, alarm: Alarm) -> LetterCount | None:
        """How many dead letters of the alarm nobody has handled, as last counted.

        None at its begin, when people are told how many died, and for other alarms."""
        if self._unhandled is None or subject.kind != DEAD_LETTERS.name or not alarm.notified:
            return None
        return self._unhandled.of(subject.name, alarm.since)

    def _counts(self, subject: Subject) -> bool:
        """Whether this worker counts the subject's dead letters just now."""
        if self._unhandled is None or subject.kind != DEAD_LETTERS.name:
            return False
        return self._unhandled.is_counting(subject.name)

    def _is_counted(
        self, subject: Subject, alarm: Alarm, left: LetterCount | None, due: Due, own: _OwnClaim
    ) -> bool:
        """Whether what is left was counted since the claim, if it is to be told; else it is now."""
        if self._unhandled is None or subject.kind != DEAD_LETTERS.name or due == "firing":
            return True
        if left is not None and left.began >= own.at:
            return True
        self._unhandled.count(subject.name, alarm.since)
        return False

    def _own_claim(self, key: str, alarm: Alarm) -> _OwnClaim | None:
        """This worker's claim of the alarm's next notification, if it has it."""
        own, claim = self._claims.get(key), alarm.claim
        if own is None or claim is None or claim.worker != self._me:
            return None
        return own if own.notification == (alarm.episode, alarm.notified + 1) else None

    def _is_settled(self, key: str, own: _OwnClaim, due: Due, now: float) -> bool:
        """Whether no other worker can have the claim any more."""
        shared = self._shared.get(key)
        if shared is not None and shared.claim == self._alarms[key].claim:
            return now - own.at >= CLAIM_SETTLE
        # The claim did not come back: the topic cannot be written. That something is wrong must be
        # told all the same. That it is over must not: another worker may still see it.
        return due != "resolved" and now - own.at >= UNSHARED_TIMEOUT

    def _on_sent(self, key: str, episode: int, number: int, at: float, due: Due) -> None:
        """A channel has taken the notification."""
        alarm = self._alarms.get(key)
        if alarm is not None and alarm.episode == episode:
            self._alarms[key] = alarm.after_notification(number, at, due)

    def _detect_stall(self, now: float) -> None:
        """Let own claims settle anew after this worker stood still, as by SIGSTOP or swapping.

        Why: its clock says that 5 seconds are over, but it has not read the topic meanwhile. In
        these seconds another worker may have taken the claim over, and sent.
        """
        if now - self._evaluated_at > CLAIM_SETTLE:
            for claim in self._claims.values():
                # Once a claim: a worker that stands still for 6 of each 7 s must speak some time.
                claim.at = claim.at if claim.stalled else now
                claim.stalled = True
        self._evaluated_at = now

    # What is shared

    def _share(self) -> None:
        """Write the alarms that the topic does not have yet, unless a write is under way."""
        if self._writing is None or self._writing.done():
            new = {k: a for k, a in self._alarms.items() if a != self._shared.get(k)}
            if new:
                self._writing = supervised_task(
                    self._put(new), f"{self._flow}-alarms", self._failed
                )

    async def _write_ended(self, timeout: float) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=timeout)

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
