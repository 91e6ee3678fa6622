"""What a sink's error means for one event: never again, later, or not while the system is down.

The sink says so itself (``DeliveryError``), and a destination can know better: ``reject=``,
``Retry(on=…)`` and ``outage=[…]`` name HTTP statuses and classes of exceptions. The more specific
one wins: a status before a class, the error itself before its causes, a class before its bases.
"""

from __future__ import annotations

from collections.abc import Iterator

from trunkline.errors import (
    DataError,
    DeliveryError,
    PartialFailure,
    RegistryUnavailable,
    Rejected,
    Retryable,
    Unavailable,
)
from trunkline.streams.flow.policy import Policy
from trunkline.streams.flow.retry import ErrorMatch

Instruction = type[Rejected] | type[Retryable] | type[Unavailable]


class ErrorClassifier:
    """Classifies errors of one destination by its policy. Pure: the same error, the same answer."""

    def __init__(self, policy: Policy) -> None:
        self._overrides: dict[ErrorMatch, Instruction] = {
            **dict.fromkeys(policy.down, Unavailable),
            **dict.fromkeys(policy.reject, Rejected),
            **dict.fromkeys(policy.retry.on, Retryable),
        }

    def classify(self, error: Exception) -> DeliveryError:
        """The instruction that ``error`` stands for: a Rejected, Retryable or Unavailable.

        The error itself where nothing has to change; else a new one, raised from it in effect
        (``__cause__``), with its ``after`` and ``status``. What is no DeliveryError is Retryable,
        but for data that cannot be read or written (Rejected) and for a registry that is down
        (Unavailable).
        """
        verdict = self._override(error) or _own(error)
        if isinstance(error, verdict):
            return error
        made = _made(verdict, error)
        made.__cause__ = error
        return made

    def _override(self, error: Exception) -> Instruction | None:
        if not self._overrides:
            return None
        for cause in (*_statuses(error), *_classes(error)):
            if cause in self._overrides:
                return self._overrides[cause]
        return None


def _own(error: Exception) -> Instruction:
    """What an error means where nobody says otherwise."""
    if isinstance(error, Rejected | DataError):
        return Rejected
    if isinstance(error, Unavailable | RegistryUnavailable):
        return Unavailable
    return Retryable


def _made(verdict: Instruction, error: Exception) -> DeliveryError:
    status = next(iter(_statuses(error)), None)
    cause = error.cause if isinstance(error, DeliveryError) else ""
    if verdict is Rejected:
        return Rejected(_told(error), status=status, cause=cause)
    later = Retryable if verdict is Retryable else Unavailable
    after = getattr(error, "after", None)
    return later(_told(error), after=after, status=status, cause=cause)


def _told(error: Exception) -> str:
    """An error in words; with its class, unless the message of one of ours says enough."""
    if isinstance(error, DeliveryError | DataError) and not isinstance(error, PartialFailure):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, the nearest first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _statuses(error: BaseException) -> list[int]:
    found = [getattr(link, "status", None) for link in _chain(error)]
    return [status for status in found if isinstance(status, int)]


def _classes(error: BaseException) -> Iterator[type[BaseException]]:
    for link in _chain(error):
        yield from type(link).__mro__[:-1]  # but object
