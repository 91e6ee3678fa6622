"""A destination's delivery policy: everything that decides when an event is sent, and again.

Written by users as the arguments of ``@flow.destination``; here it is parsed, in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from trunkline.streams.retry import Retry

Order = Literal["key", "none"]
OnDead = Literal["continue", "halt"]
Outage = Literal["hold", "tiers"]

Cause = int | type[BaseException]
"""What an override names: an HTTP status, or a class of exception."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a system is spared, over all workers together. None: no limit.

    ``rate``: events per second; ``concurrent``: calls under way; ``batch``: events in one call;
    ``linger``: seconds that a batch may wait to fill; ``timeout``: seconds of one call.
    """

    rate: float | None = None
    concurrent: int | None = None
    batch: int | None = None
    linger: float = 0.0
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How events reach one destination. ``delay``: seconds before the first attempt."""

    order: Order = "key"
    retry: Retry = field(default_factory=lambda: Retry.DEFAULT)
    delay: float = 0.0
    on_dead: OnDead = "continue"
    outage: Outage = "hold"
    reject: Sequence[Cause] = ()
    limits: Limits = Limits()
