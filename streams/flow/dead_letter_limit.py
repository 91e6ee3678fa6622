"""When so many events are dead-lettered that deliveries stop: what a flow says of its limit."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """Deliveries stop when more than ``share`` of the events that ended within ``window`` were
    dead-lettered, of ``minimum`` events or more, until a person has looked.

    The defaults: a cause that concerns everything rejects nearly everything, while bad data of
    one origin, even a burst of it, stays well below half; so a share of 0.5 tells them apart. A
    hundred events are enough to mean it and few enough to look through. At fewer than twenty
    events a minute it never shuts: what a slow feed loses, the alert of the first dead letter
    still tells in time.

    ``window`` is a text as ``"5m"``. Raises ConfigurationError.
    """

    share: float = 0.5
    window: str = "5m"
    minimum: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            wanted = "above 0 and below 1, as 0.5 for half"
            raise ConfigurationError(f"DeadLetterLimit(share={self.share}): must be {wanted}")
        if parse_duration(self.window) <= 0:
            raise ConfigurationError(
                f"DeadLetterLimit(window={self.window!r}): must be longer than nothing"
            )
        if self.minimum < 1:
            raise ConfigurationError(
                f"DeadLetterLimit(minimum={self.minimum}): must be 1 or more events"
            )
