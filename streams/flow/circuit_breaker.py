"""When a destination counts as down: what a flow says of its circuit breaker."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """When a destination counts as down, and how it is asked whether it is up again.

    A destination is down after ``failures`` calls in succession that found it unavailable, or when
    at least ``share`` of the calls within ``window`` did, of ``minimum`` calls or more. Then
    nothing is sent for ``open``, and after that one event, the probe. A probe that fails doubles
    the time, up to ``longest``; after one that passes, the rate grows for ``slow_start`` before it
    is full.

    Durations are texts such as ``"250ms"``, ``"30s"``, ``"1m"``. Raises ConfigurationError.
    """

    failures: int = 5
    share: float = 0.5
    window: str = "30s"
    minimum: int = 20
    open: str = "5s"
    longest: str = "10s"
    slow_start: str = "10s"

    def __post_init__(self) -> None:
        for name in ("failures", "minimum"):
            _require(getattr(self, name) >= 1, f"{name}={getattr(self, name)}", "1 or more calls")
        _require(0 < self.share <= 1, f"share={self.share}", "above 0 and up to 1, as 0.5 for half")
        for name in ("window", "open", "longest"):
            text = getattr(self, name)
            _require(parse_duration(text) > 0, f"{name}={text!r}", "longer than nothing")
        parse_duration(self.slow_start)
        fits = parse_duration(self.open) <= parse_duration(self.longest)
        _require(fits, f"longest={self.longest!r}", f"at least open={self.open!r}")


def _require(fine: bool, what: str, wanted: str) -> None:
    if not fine:
        raise ConfigurationError(f"CircuitBreaker({what}): must be {wanted}")
