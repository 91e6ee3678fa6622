"""When so many events are dead-lettered that deliveries stop: what a flow says of its limit."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.errors import ConfigurationError
from trunkline.times import parse_duration


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """How many dead letters are too many: then deliveries stop until a person has looked.

    The limit trips when more than ``share`` of the events that ended within ``window`` were
    dead-lettered, of ``minimum`` events or more. With the defaults it never trips at fewer than
    twenty events a minute: what a slow feed loses, the alert of the first dead letter tells in
    time.

    ``window`` is a text as ``"5m"``. Raises ConfigurationError.
    """

    # A schema that changed or a token that expired rejects nearly everything, while bad data of one
    # origin, even a burst of it, stays well below half: so a share of 0.5 tells them apart.
    share: float = 0.5
    window: str = "5m"
    # Enough to mean it, and few enough to look through.
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
