"""When a person must be told about a destination, and when that is over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration


@dataclass(frozen=True)
class Alert:
    """What is too long for a destination: a policy, written ``alert=Alert(lag="15m", open="10m")``.

    ``lag``: the age of the oldest event that is not delivered; ``open``: how long its breaker
    may stay open. Texts as ``"90s"`` or ``"10m"``; ConfigurationError for others and for zero.
    """

    lag: str = "15m"
    open: str = "10m"

    def __post_init__(self) -> None:
        for name in ("lag", "open"):
            text = getattr(self, name)
            if not isinstance(text, str) or parse_duration(text) <= 0:
                raise ConfigurationError(
                    f"Alert({name}={text!r}): write a time above zero, as {name}='10m'"
                )

    @cached_property
    def lag_seconds(self) -> float:
        """``lag`` in seconds."""
        return parse_duration(self.lag)

    @cached_property
    def open_seconds(self) -> float:
        """``open`` in seconds."""
        return parse_duration(self.open)
