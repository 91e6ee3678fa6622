"""What an operator commands a destination: the control record of an ``OverrideKey``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

log = logging.getLogger(__name__)

Override = Literal["open", "closed", "auto"]
"""As the breaker's states: ``open`` sends nothing, ``closed`` sends whatever the breaker says,
``auto`` leaves it to the breaker."""


@dataclass(frozen=True, slots=True)
class OverrideRecord:
    """A destination's breaker, forced by hand.

    ``state``: "open" (paused: nothing is sent), "closed" (sent whatever the breaker says) or
    "auto". ``by``, ``why`` and ``at`` (ISO 8601): who commanded it, for what reason, when.
    ``until`` (ISO 8601): when it ends by itself, or None.
    """

    state: Override = "auto"
    until: str | None = None
    by: str = ""
    why: str = ""
    at: str = ""

    @classmethod
    def of(cls, value: Mapping[str, Any] | None) -> OverrideRecord:
        """The command of a control record, None for no record. One that is not understood is
        logged and counts as none: a mistake of somebody's hand must stop no worker."""
        if value is None:
            return cls()
        try:
            return cls(**{name: value[name] for name in cls.__slots__ if name in value})._checked()
        except (TypeError, ValueError) as error:
            log.error("the command %r of a destination is ignored: %s", dict(value), error)
            return cls()

    def value(self) -> dict[str, Any]:
        """As the control record has it."""
        return asdict(self)

    def in_force(self, now: float) -> Override:
        """The state that is commanded at ``now``, seconds since the epoch."""
        return self.state if now < self.ends_at else "auto"

    @property
    def ends_at(self) -> float:
        """When it ends by itself, in seconds since the epoch; infinity if it does not."""
        return datetime.fromisoformat(self.until).timestamp() if self.until else float("inf")

    def _checked(self) -> OverrideRecord:
        if self.state not in get_args(Override):
            raise ValueError(f"its state is none of {', '.join(get_args(Override))}")
        _ = self.ends_at  # raises if it is no time
        return self
