"""Asking an API for what has changed since a value: which one, and which items came before."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from trunkline.connectors.json_values import MOST_DIGITS, pointed
from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration

log = logging.getLogger(__name__)

REMEMBERED = 5_000
"""Items that are known again when the API lists them once more."""
FUTURE = timedelta(minutes=5)
"""How far an API's clock may be ahead. A time beyond is not asked from: nothing would come."""


@dataclass(frozen=True, slots=True)
class Since:
    """Only what has changed: the largest value of ``field`` so far is sent as ``parameter``.

    ``field``: of an item, its name or JSON pointer: a time in ISO 8601, a number or a text that
    grows. ``first``: what the first look sends; "" for nothing. ``overlap``: how far before the
    largest value is asked, of times and of numbers that are seconds.

    An API that means "from this value on" is asked for the items of that value again; those that
    came before, and are the same, are left out.
    """

    parameter: str
    field: str
    first: str = ""
    overlap: str = "0s"

    def __post_init__(self) -> None:
        parse_duration(self.overlap)
        if not self.parameter or not self.field:
            raise ConfigurationError("Since: name the query's parameter= and the items' field=")


class SinceState:
    """The largest value so far, and the last REMEMBERED items. For one thread.

    ``stored``: what ``position`` gave. The largest value counts from the end of a look on
    (``end``): an API may list in any order.
    """

    def __init__(self, since: Since, stored: Mapping[str, Any] | None) -> None:
        self._since = since
        self._field = pointed(since.field, "an item")
        self._overlap = parse_duration(since.overlap)
        stored = stored or {}
        try:
            self._value: Any = _from_position(stored.get("value"))
            self._newest: Any = _from_position(stored.get("newest", stored.get("value")))
            packed = base64.b64decode(stored.get("seen", ""))
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise ConfigurationError(f"the position is none of HttpPolling's: {error}") from error
        self._seen = dict.fromkeys(packed[at : at + 8] for at in range(0, len(packed), 8))

    def position(self) -> dict[str, Any]:
        """The part of a source's position that is this one's."""
        seen = base64.b64encode(b"".join(self._seen)).decode()
        value, newest = _to_position(self._value), _to_position(self._newest)
        return {"value": value, "newest": newest, "seen": seen}

    def parameters(self) -> dict[str, str]:
        """What is sent."""
        if self._value is None:
            return {self._since.parameter: self._since.first} if self._since.first else {}
        return {self._since.parameter: self._before(self._value)}

    def is_new(self, item: Any, shown: bytes) -> bool:
        """Whether an item did not come before, as it is now; it has come from now on."""
        digest = hashlib.blake2b(shown, digest_size=8).digest()
        self._note(item)
        if digest in self._seen:
            return False
        self._seen[digest] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True

    def time_of(self, item: Any) -> datetime | None:
        """The item's time, UTC; None if its field holds none."""
        try:
            return _moment(self._field(item))
        except LookupError:
            return None

    def end(self) -> None:
        """A look is over: all that it asked for was listed."""
        self._value = self._newest

    def _note(self, item: Any) -> None:
        try:
            value = self._field(item)
        except LookupError:
            return
        order = _order(value)
        if order is None:
            return
        if (at := _moment(value)) is not None and at > datetime.now(UTC) + FUTURE:
            log.warning("an item's %s is in the future: %s", self._since.field, str(value)[:40])
            return
        if self._newest is None or order > (_order(self._newest) or (-1, 0)):
            self._newest = value

    def _before(self, value: Any) -> str:
        if not self._overlap:
            return _text(value)
        if isinstance(value, int | float | Decimal):
            return _text(type(value)(Decimal(str(value)) - Decimal(str(self._overlap))))
        try:
            at = datetime.fromisoformat(value) - timedelta(seconds=self._overlap)
        except (ValueError, OverflowError):
            return str(value)
        text = at.isoformat()
        return text.removesuffix("+00:00") + "Z" if value.endswith("Z") else text


def _moment(value: Any) -> datetime | None:
    """A time in ISO 8601, UTC where it says none; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    """As it is sent: 1700000000.123, never 1.7E+9."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _to_position(value: Any) -> Any:
    """JSON, of numbers with more digits than a ``float`` has, too."""
    return {"decimal": str(value)} if isinstance(value, Decimal) else value


def _from_position(stored: Any) -> Any:
    return Decimal(stored["decimal"]) if isinstance(stored, dict) else stored


def _order(value: Any) -> tuple[int, Any] | None:
    """Numbers, then texts, then times; None for what has no order."""
    if isinstance(value, Decimal) and abs(value.adjusted()) > MOST_DIGITS:
        return None  # "1e999999999", which nobody could be sent
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return 0, value
    if not isinstance(value, str) or value == "":
        return None
    at = _moment(value)
    return (1, value) if at is None else (2, at.timestamp())
