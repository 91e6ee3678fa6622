"""What commands on a running flow share: which destination is meant, and on which Kafka.

The flow's file is not needed: its topics tell what there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from trunkline import kafka, naming
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone

SHOWN = 10
"""Most destinations that an error names."""


@dataclass(frozen=True, slots=True)
class Target:
    """A destination of a flow, and its topics."""

    flow: str
    destination: str

    def __str__(self) -> str:
        return naming.qualified(self.flow, self.destination)

    @property
    def inbox(self) -> str:
        """The topic of all that the destination is to receive."""
        return naming.inbox(self.flow, self.destination)

    @property
    def dlq(self) -> str:
        """The topic of its dead letters."""
        return naming.dlq(self.flow, self.destination)

    @property
    def control(self) -> str:
        """The flow's control topic."""
        return naming.control(self.flow)

    @property
    def audit(self) -> str:
        """The flow's audit topic."""
        return naming.audit(self.flow)


def target(text: str) -> Target:
    """The destination that ``FLOW.DESTINATION`` names. Raises ConfigurationError."""
    flow, dot, destination = text.rpartition(".")
    if not (flow and dot and destination):
        raise ConfigurationError(f"{text!r}: write FLOW.DESTINATION, as orders.warehouse")
    return Target(flow, destination)


def require(target: Target, backbone: Backbone) -> None:
    """Raises ConfigurationError, naming what there is, unless the destination has an inbox there;
    and KafkaUnavailable."""
    topics = kafka.existing_topics(kafka.admin(backbone))
    if target.inbox in topics:
        return
    there = sorted(naming.destination_of(topic) for topic in topics if naming.is_inbox(topic))
    raise ConfigurationError(
        f"there is no destination {str(target)!r} at {backbone.bootstrap} "
        f"(no topic {target.inbox!r}); {_named(target, there)}"
    )


def _named(target: Target, there: Iterable[str]) -> str:
    """The destinations of that flow, or if it has none those of all flows, most similar first."""
    every = list(there)
    own = [name for name in every if name.startswith(f"{target.flow}.")]
    if not every:
        return "no flow has run there yet: is it the right environment (--env)?"
    near = own or sorted(every, key=lambda name: -SequenceMatcher(a=name, b=str(target)).ratio())
    more = f" and {len(near) - SHOWN} more" if len(near) > SHOWN else ""
    return f"there are: {', '.join(near[:SHOWN])}{more}"
