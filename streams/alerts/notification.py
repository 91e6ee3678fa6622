"""A notification: what people are told, as text for a person and as JSON for a program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from trunkline import naming
from trunkline.streams.alerts.alarm import Alarm, Due
from trunkline.streams.alerts.kinds import KINDS, AlertKind, dead_letters_left
from trunkline.streams.alerts.unhandled import MAX_COUNTED
from trunkline.streams.control.records import AlertKey
from trunkline.times import format_duration, iso

NotificationState = Literal["firing", "reminder", "resolved", "test"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alert is about. ``step``: publish, route or deliver; ``name``: of the source, flow
    or destination; ``kind``: one of KINDS."""

    flow: str
    step: str
    name: str
    kind: str

    @property
    def key(self) -> str:
        """The key of its control record."""
        return AlertKey(self.step, self.name, self.kind).text

    @property
    def full(self) -> str:
        """``orders.warehouse``, as the command line names a destination; ``orders`` its routes."""
        return self.flow if self.step == "route" else naming.qualified(self.flow, self.name)

    @property
    def what(self) -> str:
        """``destination warehouse``."""
        kind = {"deliver": "destination", "publish": "source", "route": "routes of"}
        return f"{kind.get(self.step, self.step)} {self.name}"

    @property
    def command(self) -> str:
        """The command that shows more."""
        if self.kind == "held":
            return f"trunkline destination status {self.flow}.DESTINATION, of any destination"
        if self.kind not in ("lag", "at_risk") or self.step == "deliver":
            return f"{KINDS[self.kind].command} {self.full}"
        if self.step == "route":
            return f"the logs of the workers that route {self.flow}"
        return f"trunkline source status {self.full}"

    @classmethod
    def of_key(cls, flow: str, key: str) -> Subject | None:
        """The subject of a control record; None for one that is no alert's."""
        parsed = AlertKey.parse(key)
        if parsed is None or parsed.kind not in KINDS:
            return None
        return cls(flow, parsed.step, parsed.name, parsed.kind)


@dataclass(frozen=True, slots=True)
class Notification:
    """One message. ``id``: the same for all of one episode; ``number`` counts them.

    ``since``, ``at``: epoch seconds; ``amount``: events for dead letters, else seconds; ``what``:
    what happened; ``error``: the newest one, or empty.
    """

    subject: Subject
    state: NotificationState
    id: str
    number: int
    since: float
    at: float
    amount: float
    what: str
    error: str = ""

    @property
    def headline(self) -> str:
        """One line."""
        return f"{self.state.upper()} {self.subject.full}: {self.what}"

    @property
    def text(self) -> str:
        """All of it, a line each."""
        lines = [
            self.headline,
            f"flow {self.subject.flow}, {self.subject.what}",
            f"since {iso(self.since)} ({format_duration(self.at - self.since)})",
            f"newest error: {self.error}" if self.error else "",
            f"to look: {self.subject.command}",
        ]
        return "\n".join(line for line in lines if line)

    def to_json(self) -> dict[str, Any]:
        """The body of a webhook: docs/alerts.md is its contract."""
        subject = self.subject
        return {
            "id": self.id,
            "number": self.number,
            "state": self.state,
            "alert": subject.kind,
            "flow": subject.flow,
            "step": subject.step,
            "name": subject.name,
            "what": self.what,
            "amount": self.amount,
            "since": iso(self.since),
            "at": iso(self.at),
            "error": self.error or None,
            "command": subject.command,
            "text": self.text,
        }


def notification_of(
    subject: Subject, alarm: Alarm, due: Due, now: float, left: int | None = None
) -> Notification:
    """The next notification of an alarm, written ``now``. ``left``: of dead letters, how many
    nobody has handled yet, where that is known."""
    kind: AlertKind = KINDS[subject.kind]
    amount = alarm.amount(kind)
    what = kind.over(amount) if due == "resolved" else kind.firing(amount)
    if left is not None:
        what, amount = dead_letters_left(what, left, at_most=MAX_COUNTED), left
    return Notification(
        subject,
        due,
        f"{subject.flow}/{subject.step}/{subject.name}/{subject.kind}/{iso(alarm.since)}",
        alarm.notified + 1,
        alarm.since,
        now,
        amount,
        what,
        alarm.error,
    )


def sample_notification(now: float) -> Notification:
    """A notification that shows that a channel works."""
    subject = Subject("example", "deliver", "warehouse", "dead_letters")
    what = "this is a test, nothing happened"
    return Notification(subject, "test", f"test/{iso(now)}", 1, now, now, 0, what)
