"""What a route may return beside the bare data: a message with a key of its own, and a delete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

D_co = TypeVar("D_co", covariant=True)

Otherwise = Literal["delete"]
"""What a route sends where its function returns nothing."""


@dataclass(frozen=True, slots=True)
class Message(Generic[D_co]):
    """Data with a key or headers of its own.

    ``key``: of the destination's entity; the event's own key if it is None. Messages of one key
    arrive in the order of the events *of one event key*: events of two keys are in two partitions,
    and whichever is routed first comes first. ``headers``: added to the event's, in place of those
    of the same name; names that begin with ``ce_`` or ``tl_`` are the engine's.
    """

    data: D_co
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """The destination's entity of this key is to go; the event's own key if it is None.

    For destinations whose sink accepts deletes. Deleting what is not there is a success.
    """

    key: str | None = None
