"""What an HTTP answer tells the engine: a delivery error for each status that is not 2xx.

Status codes are those of RFC 9110; 425 is RFC 8470, 429 RFC 6585.
"""

from __future__ import annotations

from trunkline.errors import DeliveryError, Rejected, Retryable, Unavailable
from trunkline.times import seconds_until

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
