"""How SqlPolling tells what is new in a table: three ways, each of which misses something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration


@dataclass(frozen=True, slots=True)
class Increasing:
    """Rows with a larger value in ``column`` than any before: a table that only grows.

    ``lag``: a row is read when a row as new as it was seen for so long: it must be longer than any
    transaction lasts from its number to its commit. ``then``: columns that tell rows of one value
    apart; by default the primary key, () for a column whose values are unique.

    Misses updates, deletes, rows that are committed later than ``lag`` after one with a larger
    number, and rows without a value.
    """

    column: str
    lag: str = "5s"
    then: Sequence[str] | None = None

    def __post_init__(self) -> None:
        parse_duration(self.lag)
        _check_names("Increasing", self.column, self.then)


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Rows whose time in ``column`` is later than any before: new ones and updated ones.

    ``lag``: only times that are so far in the past, by the database's clock, are read: it must be
    longer than any transaction, plus what the writers' clocks differ. ``then``: columns that tell
    rows of one time apart; by default the primary key. ``zone``: of times in a column without one.

    Misses deletes, states that were overwritten between two looks, rows that are committed later
    than ``lag`` after their time, and rows without a time.
    """

    column: str
    lag: str = "10s"
    then: Sequence[str] | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        parse_duration(self.lag)
        _check_names("Timestamp", self.column, self.then)
        try:
            ZoneInfo(self.zone)
        except (ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError: below
            raise ConfigurationError(f"Timestamp: zone={self.zone!r} is none") from error
        except KeyError as error:
            raise ConfigurationError(f"Timestamp: zone={self.zone!r} is not known") from error
        if self.then is not None and not self.then:
            raise ConfigurationError("Timestamp: then= names columns: times are rarely unique")


@dataclass(frozen=True, slots=True)
class FullComparison:
    """All rows are read at each look and compared, by a hash, with those of the look before.

    ``remember``: rows at the most. ``max_deleted``: the share of the rows that may have gone from
    one look to the next; with more, as of a table that is just being loaded anew, the source stops
    and says so. It counts from 100 rows on.

    Misses states that were overwritten between two looks, and rows that came and went meanwhile.
    """

    remember: int = 1_000_000
    max_deleted: float = 0.5

    def __post_init__(self) -> None:
        if self.remember < 1 or not 0 <= self.max_deleted <= 1:
            raise ConfigurationError(
                "FullComparison: remember= is 1 or more, max_deleted= a share from 0 to 1"
            )


Mode = Increasing | Timestamp | FullComparison


def _check_names(mode: str, column: str, then: Sequence[str] | None) -> None:
    if not column or isinstance(then, str) or column in (then or ()):
        raise ConfigurationError(f'{mode}: name a column, and others in then=: then=("id",)')
