"""What an HTTP answer tells the engine: a delivery error for each status that is not 2xx.

Status codes are those of RFC 9110; 425 is RFC 8470, 429 RFC 6585.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

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


_CODE = re.compile(r"[\w.:/-]{1,100}", re.ASCII)


def code_of(body: bytes) -> str:
    """The system's own word for what is wrong, of an answer's JSON: its ``code``, also as
    ``error_code`` or ``errorCode``, at the top, in ``error``, or in the first of ``errors``; else a
    word that is its ``error`` (RFC 6749). "" for none."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    first = answer.get("errors")
    several = first[:1] if isinstance(first, list) else []
    within: list[Any] = [answer, answer.get("error"), *several]
    found = [
        one[name]
        for one in within
        if isinstance(one, dict)
        for name in ("code", "error_code", "errorCode")
        if name in one
    ]
    return next((str(one) for one in [*found, answer.get("error")] if _is_code(one)), "")


def _is_code(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return _CODE.fullmatch(str(value)) is not None
