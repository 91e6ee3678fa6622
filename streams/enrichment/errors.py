"""What an error of an enrichment means: an outage of the system that is asked, or the message's.

The function may raise the instructions itself (``Retryable``, ``Unavailable``, ``Rejected``). What
its client raises is understood where it says that nobody answered, or names an HTTP status.
"""

from __future__ import annotations

import socket
from typing import Any

from trunkline.errors import DataError, DeliveryError, Rejected, Retryable, Unavailable
from trunkline.times import seconds_until

_NOBODY_ANSWERS = frozenset(
    {
        "httpx.TransportError",
        "aiohttp.client_exceptions.ClientConnectionError",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
        "sqlalchemy.exc.OperationalError",
        "sqlalchemy.exc.InterfaceError",
        "sqlalchemy.exc.TimeoutError",
    }
)
"""Classes by name: a client's package is the flow's own affair, and need not be installed."""

DOWN = frozenset({401, 403, 502, 503, 504, *range(520, 528), 530})
"""Nobody behind the gateway answers; or the credentials are wrong, which no message is to blame
for."""
LATER = frozenset({404, 408, 409, 425, 429})
"""What is asked for is not there yet, or the moment was bad."""


def meaning(error: Exception) -> Exception:
    """The instruction that ``error`` stands for, raised from it in effect; the error itself where
    it is an instruction already, or is not understood."""
    if isinstance(error, DeliveryError | DataError):
        return error
    if isinstance(error, ExceptionGroup):
        return _of_group(error)
    made = _of_status(error) or _of_class(error)
    if made is None:
        return error
    made.__cause__ = error
    return made


def _of_group(group: ExceptionGroup[Exception]) -> Exception:
    """The gravest of what a group means; the group itself where nothing of it is understood.

    Case: a function asks two systems in an ``asyncio.TaskGroup``, and one of them is down. Taken
    for an unforeseen error, its outage would use up attempts. An outage goes first, then what is
    not there yet: waiting loses nothing, and the next attempt tells whatever else is wrong.
    """
    found = [meaning(error) for error in group.exceptions]
    for kind in (Unavailable, Retryable, (DeliveryError, DataError)):
        for one in found:
            if isinstance(one, kind):
                return one
    return group


def _of_status(error: Exception) -> DeliveryError | None:
    """Of an HTTP answer that a client raised: ``response.raise_for_status()``."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status", None)
    if not isinstance(status, int) or not 300 <= status < 600:
        return None
    cause = f"{type(error).__name__} {status}"
    if status not in DOWN and status not in LATER and status < 500:
        return Rejected(_told(error), status=status, cause=cause)
    later = Unavailable if status in DOWN else Retryable
    headers: Any = getattr(response, "headers", None) or getattr(error, "headers", None) or {}
    after = seconds_until(str(headers.get("retry-after") or headers.get("Retry-After") or ""))
    return later(_told(error), after=after, status=status, cause=cause)


def _of_class(error: Exception) -> DeliveryError | None:
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    nobody = isinstance(error, TimeoutError | ConnectionError | socket.gaierror)
    if nobody or names & _NOBODY_ANSWERS or getattr(error, "connection_invalidated", False):
        return Unavailable(_told(error), cause=type(error).__name__)
    return None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
