"""A source as a flow declares it: who builds its connector, and what of it no topic takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from trunkline import naming
from trunkline.connectors.base import PushSource, Source
from trunkline.errors import ConfigurationError
from trunkline.params import Params
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.flow.decorated import DeclaringFlow, Definition
from trunkline.times import parse_duration

EnvT = TypeVar("EnvT", bound=Params)

AnySource = Source | PushSource

LINGER = "10ms"
"""From one small batch of a source to the next. At 200 changes a second a transaction for each cost
twice the CPU, of the broker's as well."""
LONGEST_LINGER = 60.0
"""Seconds."""


class SourceDefinition(Definition, Generic[EnvT]):
    """A source of a flow: call it with the parameters and it builds the connector.

    ``ignore``: streams whose records are left out on purpose. ``dead_letter_limit``: when so much
    cannot be mapped that it stops; None for never. ``linger``: seconds from one small batch to the
    next, of a source that stands at its system's end."""

    function: Callable[[EnvT], AnySource]

    def __init__(
        self,
        flow: DeclaringFlow,
        function: Callable[[EnvT], AnySource],
        *,
        ignore: str | Sequence[str] = (),
        dead_letter_limit: DeadLetterLimit | None = None,
        linger: str = LINGER,
    ) -> None:
        super().__init__(flow, function, "source")
        self.ignore: tuple[str, ...] = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        if dead_letter_limit is not None and not isinstance(dead_letter_limit, DeadLetterLimit):
            raise ConfigurationError(
                f"{self}: dead_letter_limit={dead_letter_limit!r} is none: "
                "DeadLetterLimit(share=0.2), say"
            )
        self.dead_letter_limit = dead_letter_limit
        self.linger = parse_duration(linger)
        if self.linger > LONGEST_LINGER:
            raise ConfigurationError(
                f"{self}: linger={linger!r}: at most {LONGEST_LINGER:.0f}s, as a source that "
                "lingers is late"
            )

    def __call__(self, env: EnvT) -> AnySource:
        return self.function(env)

    @property
    def positions(self) -> str:
        """The compacted topic that holds the source's position; its owner runs the source."""
        return naming.positions(self.flow.name, self.name)

    @property
    def dlq(self) -> str:
        """The topic of records that could not be made canonical."""
        return naming.dlq(self.flow.name, self.name)
