"""Maintenance windows as a flow writes them.

A window is written as days and a time, or as a cron expression, with its duration and its zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration

_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


_CRON_FIELDS = 5


_STARTS = 400  # how many starts to look at for the shortest period: a year's of "daily 02:00"


_FORMS = "as 'Sun 02:00 2h Europe/Rome', 'daily 22:30 90m UTC' or '0 2 * * SUN 2h Europe/Rome'"


@dataclass(frozen=True, slots=True)
class Window:
    """One recurring window: a cron expression, a duration and a zone. Made by ``parse``."""

    text: str
    cron: str
    duration: timedelta
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Window:
        """The window that a text means: its days and time, its duration, its zone.

        ``Sun 02:00 2h Europe/Rome``, ``Mon-Fri,Sun 22:30 90m UTC``, ``daily 02:00 1h …``, or a cron
        expression of five fields in place of days and time. The zone is an IANA name, and
        mandatory. Raises ConfigurationError.
        """
        # Mandatory, since a zone that is guessed is wrong in silence: containers run in UTC, so the
        # window "Sun 02:00 2h" of people in Rome would begin when theirs is over.
        try:
            return cls(text, *_parse(text.split()))
        except ConfigurationError as error:
            raise ConfigurationError(f"window {text!r}: {error}") from error

    def __post_init__(self) -> None:
        gaps = [later - earlier for earlier, later in pairwise(islice(self._plain(), _STARTS))]
        if not gaps:
            raise ConfigurationError(f"the cron expression {self.cron!r} hardly ever comes")
        # A window that is open when the next one starts never closes, and its destination would
        # never be sent anything: "daily 02:00 24h" is a pause, which an operator should see as one.
        if self.duration >= min(gaps):
            shown = f"lasts {self.duration} and comes again after {min(gaps)}"
            raise ConfigurationError(f"it {shown}: it must be shorter than its period")

    def current(self, at: datetime) -> datetime | None:
        """The end, in UTC, of the window that ``at`` is in: from its start to before its end;
        None outside."""
        # Windows are shorter than their period, so at most one start lies in the last `duration`.
        start = self.next_start(at - self.duration)
        return start + self.duration if start <= at else None

    def next_start(self, at: datetime) -> datetime:
        """The first start after ``at``, in UTC. ``at`` must know its zone."""
        local = at.astimezone(UTC).astimezone(self.zone)
        starts = (start.astimezone(UTC) for start in CronSim(self.cron, local))
        # When clocks go back an hour comes twice; from a moment in the second one, cronsim begins
        # with the starts of the first.
        return next(start for start in starts if start > at)

    def _plain(self) -> Iterator[datetime]:
        """Its starts where clocks never change."""
        # Without a zone: on the day when clocks go forward two starts of "hourly" lie no hour apart
        # by the wall, and a window of 60 minutes that is right on 364 days would be refused.
        return CronSim(self.cron, datetime(2001, 1, 1))

    def __str__(self) -> str:
        return self.text


def _parse(words: list[str]) -> tuple[str, timedelta, ZoneInfo]:
    """The cron expression, the duration and the zone."""
    short = bool(words) and words[0][0].isalpha()
    size = 2 if short else _CRON_FIELDS
    if len(words) == size + 1:
        raise ConfigurationError(f"it has no time zone: end it with one, {_FORMS}")
    if len(words) != size + 2:
        raise ConfigurationError(f"write it {_FORMS}")
    cron = _shorthand(*words[:2]) if short else _cron(" ".join(words[:size]))
    return cron, _duration(words[size]), _zone(words[size + 1])


def _cron(expression: str) -> str:
    try:
        CronSim(expression, datetime(2001, 1, 1))
    except CronSimError as error:
        reason = f"{expression!r} is not a cron expression: {str(error).lower()}"
        fields = "minute hour day-of-month month day-of-week"
        raise ConfigurationError(f"{reason}; its fields are {fields}") from error
    return expression


def _shorthand(days: str, time: str) -> str:
    """``Mon-Fri`` and ``22:30`` as a cron expression."""
    match = _TIME.fullmatch(time)
    if match is None:
        raise ConfigurationError(f"{time!r} is not a time of day: write it as 02:00 or 22:30")
    hour, minute = int(match[1]), int(match[2])
    if days.lower() == "daily":
        return f"{minute} {hour} * * *"
    numbers = sorted({day for part in days.split(",") for day in _weekdays(part)})
    return f"{minute} {hour} * * {','.join(_DAYS[number] for number in numbers)}"


def _weekdays(part: str) -> list[int]:
    """The numbers of ``Mon``, ``Mon-Fri`` or, around the end of the week, ``Sat-Mon``."""
    first, dash, last = part.upper().partition("-")
    if first not in _DAYS or (dash and last not in _DAYS):
        wanted = "write 'daily', or days as Mon, Mon-Fri or Mon,Wed,Fri"
        raise ConfigurationError(f"{part!r} is not a day of the week: {wanted}")
    start = _DAYS.index(first)
    length = (_DAYS.index(last or first) - start) % 7 + 1
    return [(start + number) % 7 for number in range(length)]


def _duration(text: str) -> timedelta:
    duration = timedelta(seconds=parse_duration(text))
    if not duration:
        raise ConfigurationError(f"{text!r}: it must last longer than nothing")
    return duration


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        close = get_close_matches(name, sorted(available_timezones()), n=1)
        hint = f"did you mean {close[0]}?" if close else "write an IANA name, as Europe/Rome or UTC"
        raise ConfigurationError(f"there is no time zone {name!r}: {hint}") from error
