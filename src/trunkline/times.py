"""Durations, rates and moments as people and records write them.

A duration is a text such as ``"250ms"``, ``"10s"`` or ``"2h"`` and becomes seconds; a rate,
``"50/s"``, becomes events per second. A moment is a float of epoch seconds inside a process, and
ISO 8601 in UTC in headers, records and output.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from trunkline.errors import ConfigurationError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(text: str) -> float:
    """``"250ms"``, ``"10s"``, ``"1m"``, ``"2h"``, ``"1d"`` in seconds; ConfigurationError else."""
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ConfigurationError(f"{text!r} is not a duration: write 250ms, 10s, 1m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]


_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*([smhd])")


def parse_rate(text: str) -> float:
    """``"50/s"``, ``"100/m"``, ``"5000/h"``, ``"10000/d"`` in events per second.

    Raises ConfigurationError for anything else, and for a rate of zero.
    """
    match = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ConfigurationError(f"{text!r} is not a rate: write 50/s, 100/m, 5000/h or 10000/d")
    rate = float(match[1]) / _PERIODS[match[2]]
    if rate <= 0:
        raise ConfigurationError(f"the rate {text!r} lets nothing through: pause the destination")
    return rate


def format_duration(seconds: float) -> str:
    """A time as a person says it: ``45 s``, ``14 min``, ``2 h 5 min``, ``3 d``."""
    whole = max(int(seconds), 0)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"


def iso(at: float) -> str:
    """Epoch seconds as ISO 8601, UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def epoch_seconds(text: str | None) -> float:
    """Epoch seconds of a moment in ISO 8601; 0 for nothing."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def parse_moment(text: str | None) -> datetime | None:
    """A time in ISO 8601, UTC where it names no zone. Raises ConfigurationError."""
    if text is None:
        return None
    try:
        return _in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:  # Overflow: 0001-01-01T00:00+14:00 in UTC
        raise ConfigurationError(
            f"{text!r} is no time: write it as 2026-11-22T14:30, or with its zone as "
            "2026-11-22T14:30+01:00"
        ) from error


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def parse_time(text: str, now: float, *, ahead: bool = False) -> datetime:
    """A time as a person gives it to a command, in UTC.

    ``2030-05-31T22:00`` is local time, ``2030-05-31T20:00Z`` and ``2030-05-31T22:00+02:00`` are
    what they say, and ``2h`` is two hours before ``now`` (epoch seconds), or with ``ahead`` after
    it. Raises ConfigurationError for anything else, and for a time that no calendar has.
    """
    if _DURATION.fullmatch(text.strip()):
        seconds = parse_duration(text)
        return _on_calendar(text, now + seconds if ahead else now - seconds)
    try:
        # astimezone() takes a time without a zone for local time. That is what an operator means;
        # records of the control topic name their zone, or mean UTC (see parse_moment).
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is no time: write 2030-05-31T22:00 for local time, 2030-05-31T20:00Z, or "
            f"2h for {'in two hours' if ahead else 'two hours ago'}"
        ) from None
    except OverflowError:  # 0001-01-01T00:00+02:00 is in the year before the first
        raise ConfigurationError(_OFF_CALENDAR.format(text)) from None


_OFF_CALENDAR = "{!r} is a time before the year 1 or after the year 9999"


def _on_calendar(text: str, at: float) -> datetime:
    """Epoch seconds as a datetime; ``text`` is what a person wrote for it."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):  # which one depends on the platform and the size
        raise ConfigurationError(_OFF_CALENDAR.format(text)) from None


def iso_rounded_up(at: float) -> str:
    """Epoch seconds as ISO 8601, UTC, rounded up to a millisecond: so nothing is early."""
    return datetime.fromtimestamp(-(-at * 1000 // 1) / 1000, UTC).isoformat(timespec="milliseconds")


LONGEST_RETRY_AFTER = 86_400.0
"""Seconds that ``Retry-After`` counts for at the most. Some APIs mean milliseconds, and some send
numbers that no calendar has; a destination's policy says how much of it is waited for."""
_DIGITS = 9  # more of them are beyond LONGEST_RETRY_AFTER, and float() of hundreds is infinite


def seconds_until(retry_after: str, now: datetime | None = None) -> float | None:
    """``Retry-After`` in seconds from now, given as seconds or as an HTTP date (RFC 9110 10.2.3),
    from 0 to LONGEST_RETRY_AFTER.

    None for "" and for what is neither: a wrong header must not cost the event.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        short = len(text.lstrip("0")) <= _DIGITS
        return min(float(text), LONGEST_RETRY_AFTER) if short else LONGEST_RETRY_AFTER
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a zone of +99999999999999 overflows
        return None
    if then.tzinfo is None:  # "-0000", and the old asctime form: both mean UTC here
        then = then.replace(tzinfo=UTC)
    return min(max(0.0, (then - (now or datetime.now(UTC))).total_seconds()), LONGEST_RETRY_AFTER)
