"""A source as a flow declares it: who builds its connector, and what of it no topic takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from trunkline import naming
from trunkline.connectors.base import PushSource, Source
from trunkline.params import Params
from trunkline.streams.flow.decorated import DeclaringFlow, Definition

EnvT = TypeVar("EnvT", bound=Params)

AnySource = Source | PushSource


class SourceDefinition(Definition, Generic[EnvT]):
    """A source of a flow: call it with the parameters and it builds the connector.

    ``ignore``: streams whose records are left out on purpose."""

    function: Callable[[EnvT], AnySource]

    def __init__(
        self,
        flow: DeclaringFlow,
        function: Callable[[EnvT], AnySource],
        *,
        ignore: str | Sequence[str] = (),
    ) -> None:
        super().__init__(flow, function, "source")
        self.ignore: tuple[str, ...] = (ignore,) if isinstance(ignore, str) else tuple(ignore)

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
