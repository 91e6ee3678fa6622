"""What an operator commands a destination: to pause it, or to send to it although its circuit
breaker is open. As a record of the control topic, and as a gate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from trunkline.streams.admission.gate import NEVER, OnOffGate

log = logging.getLogger(__name__)

Override = Literal["paused", "forced", "auto"]
"""``paused``: nothing is sent; ``forced``: events are sent whatever the circuit breaker says;
``auto``: nothing is commanded, the breaker decides."""


@dataclass(frozen=True, slots=True)
class OverrideRecord:
    """What an operator commanded a destination: the control record of an ``OverrideKey``.

    ``state``: see ``Override``. ``until`` (ISO 8601): when it ends by itself, or None. ``by``,
    ``why`` and ``at`` (ISO 8601): who commanded it, for what reason, when.
    """

    state: Override = "auto"
    until: str | None = None
    by: str = ""
    why: str = ""
    at: str = ""

    @classmethod
    def of(cls, value: Mapping[str, Any] | None) -> OverrideRecord:
        """The command of a control record; ``auto`` without a record.

        A record that is not understood is logged and counts as none.
        """
        if value is None:
            return cls()
        try:
            return cls(**{name: value[name] for name in cls.__slots__ if name in value})._checked()
        except (TypeError, ValueError) as error:
            # People write such records with tools of their own, too. If {"state": "pause"} raised
            # here, every worker of the flow would end, and end again after each restart.
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


class ManualOverride(OnOffGate):
    """The newest command for one destination in one worker: a Gate that is closed while paused.

    ``clock``: returns the time in epoch seconds. The end of a command is of that clock, and the
    time of ``now`` is only for waiting.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._state: Override = "auto"
        self._until = NEVER

    def set(self, state: Override, until: float = NEVER) -> None:
        """Obey a command from now on, until the epoch second ``until`` or the next command.

        Raises ValueError for a state that there is not.
        """
        if state not in get_args(Override):
            raise ValueError(f"{state!r} is no state: write {', '.join(get_args(Override))}")
        self._state = state
        self._until = until

    @property
    def state(self) -> Override:
        """The command that is in force: ``auto`` again once the last one has ended."""
        state = self._state
        return state if state == "auto" or self._clock() < self._until else "auto"

    def closed_until(self, now: float) -> float | None:
        """When the pause ends, on the clock of ``now``; NEVER if it has no end; None if it is not
        paused."""
        if self._state != "paused" or self.state == "auto":
            return None
        return now + self._until - self._clock()
