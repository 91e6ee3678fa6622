"""When a source that asks looks again: after a time, or by a cron expression."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration


class Schedule:
    """``every``: a duration, from the end of a look to the next one, or a cron expression in
    ``zone``. Where clocks change, times are those of Debian's cron. Raises ConfigurationError."""

    def __init__(self, every: str, zone: str = "UTC") -> None:
        self._seconds = 0.0
        self._cron = every if len(every.split()) >= 5 else ""
        try:
            self._zone = ZoneInfo(zone)
        except (ValueError, OSError, KeyError) as error:
            raise ConfigurationError(f"zone={zone!r} is not known") from error
        if not self._cron:
            self._seconds = parse_duration(every)
            if not self._seconds:
                raise ConfigurationError("every= is longer than nothing: 1m, say")
            return
        try:
            self._following(datetime.now(UTC))
        except (CronSimError, StopIteration) as error:
            raise ConfigurationError(
                f"every={every!r} is neither a duration, as 5m, nor a cron expression, as "
                "'*/10 6-20 * * *'"
            ) from error

    def wait(self, last: datetime | None, now: datetime) -> float:
        """Seconds from ``now`` to the next look. ``last``: the end of the last one, None if there
        was none. A cron time that passed while nobody looked is made up for, once."""
        if last is None or last > now:  # a clock that was ahead must not hold it up for so long
            last = now if self._cron else now - timedelta(seconds=self._seconds)
        at = self._following(last) if self._cron else last + timedelta(seconds=self._seconds)
        return max(0.0, (at - now).total_seconds())

    def _following(self, after: datetime) -> datetime:
        return next(CronSim(self._cron, after.astimezone(self._zone))).astimezone(UTC)
