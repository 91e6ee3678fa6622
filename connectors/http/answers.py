"""What an HTTP answer tells the engine: a delivery error for each status that is not 2xx.

Status codes are those of RFC 9110; 425 is RFC 8470, 429 RFC 6585.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from trunkline.errors import DeliveryError, Rejected, Retryable, Unavailable

LATER = frozenset({408, 425, 429})
DOWN = frozenset({502, 503, 504, *range(520, 528), 530})
"""A gateway's word that the system behind it does not answer; from 520 on those of CDNs."""


def failure(
    status: int, what: str, *, retry_after: str = "", location: str = "", cause: str = ""
) -> DeliveryError:
    """The instruction that a ``status`` outside 2xx stands for; ``what`` is its message, ``cause``
    the same without what is the one event's.

    408, 425, 429 and 5xx are Retryable, but those of DOWN Unavailable; 3xx and all other 4xx are
    Rejected (a redirect is a wrong URL in the flow, and following it could hand on the token).
    """
    if status in DOWN:
        return Unavailable(what, after=seconds_until(retry_after), status=status, cause=cause)
    if status in LATER or status >= 500:
        return Retryable(what, after=seconds_until(retry_after), status=status, cause=cause)
    if 300 <= status < 400:
        what += f" (redirects are not followed; location: {location or 'none'})"
    return Rejected(what, status=status, cause=cause)


LONGEST = 86_400.0
"""Seconds that ``Retry-After`` counts for at the most. Some APIs mean milliseconds, and some send
numbers that no calendar has; a destination's policy says how much of it is waited for."""
_DIGITS = 9  # more of them are beyond LONGEST, and float() of hundreds is infinite


def seconds_until(retry_after: str, now: datetime | None = None) -> float | None:
    """``Retry-After`` in seconds from now, given as seconds or as an HTTP date (RFC 9110 10.2.3),
    from 0 to LONGEST.

    None for "" and for what is neither: a wrong header must not cost the event.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST) if len(text.lstrip("0")) <= _DIGITS else LONGEST
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a zone of +99999999999999 overflows
        return None
    if then.tzinfo is None:  # "-0000", and the old asctime form: both mean UTC here
        then = then.replace(tzinfo=UTC)
    return min(max(0.0, (then - (now or datetime.now(UTC))).total_seconds()), LONGEST)
