"""What a sink raised, made safe: words that can be read, and numbers that are bounded.

A sink is somebody else's code, and what it tells comes from a system far away. Whatever it raises
concerns the events of one call, and must not end the worker while their outcome is handled.
"""

from __future__ import annotations

import math
from typing import Any

from trunkline.errors import PartialFailure, Rejected


def sound_failure(failure: Exception, max_retry_after: float) -> Exception:
    """The failure itself, with an ``after`` that is None or from 0 to ``max_retry_after`` seconds;
    of a PartialFailure also each of its errors.

    What cannot be looked at at all (its ``__str__`` raises, its ``after`` cannot be set, it is no
    exception) becomes a Rejected that says so: tried again, it would fail in the same way.
    """
    if not isinstance(failure, PartialFailure):
        return _sound(failure, max_retry_after)
    try:
        found = {int(index): _sound(each, max_retry_after) for index, each in _items(failure)}
    except Exception as defect:  # noqa: BLE001 - whatever a sink made of it ends its events only
        return _unusable(failure, defect)
    failure.failures = found  # type: ignore[assignment]  # the classifier takes any exception
    return failure


def _items(failure: PartialFailure) -> Any:
    return dict(failure.failures).items()


def _sound(failure: object, longest: float) -> Exception:
    if not isinstance(failure, Exception):
        return Rejected(f"the sink's PartialFailure names a {type(failure).__name__}, no exception")
    try:
        str(failure)
        after = getattr(failure, "after", None)
        bounded = bounded_seconds(after, longest)
        if bounded != after:
            failure.after = bounded  # type: ignore[attr-defined]  # it has one
    except Exception as defect:  # noqa: BLE001 - whatever a sink made of it ends its events only
        return _unusable(failure, defect)
    return failure


def _unusable(failure: Exception, defect: Exception) -> Rejected:
    made = Rejected(
        f"the sink raised a {type(failure).__name__} that cannot be used: "
        f"{type(defect).__name__} when it was looked at"
    )
    made.__cause__ = failure
    return made


def bounded_seconds(after: object, longest: float) -> float | None:
    """Seconds to wait, from 0 to ``longest``; None for what is no number, and for NaN."""
    if not isinstance(after, int | float):
        return None
    if after > longest:  # asked first: float() of an int of 400 digits overflows
        return longest
    return None if math.isnan(after) else max(0.0, float(after))
