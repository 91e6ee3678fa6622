"""Which destination is meant, and whether it is there.

An operator names a destination as ``FLOW.DESTINATION``. The flow's file is not needed for that: the
topics that a flow has made in Kafka tell which destinations there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Self

from trunkline import kafka, naming
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone

SHOWN = 10
"""Most destinations or sources that an error names."""


@dataclass(frozen=True, slots=True)
class Target:
    """A destination of a flow, and its topics. For dead letters also a source of it."""

    flow: str
    destination: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The destination that ``FLOW.DESTINATION`` names, as ``orders.warehouse``. A flow's name
        may have dots, a destination's has none. Raises ConfigurationError for another text."""
        flow, dot, destination = text.rpartition(".")
        if not (flow and dot and destination):
            raise ConfigurationError(f"{text!r}: write FLOW.DESTINATION, as orders.warehouse")
        return cls(flow, destination)

    def __str__(self) -> str:
        return naming.qualified(self.flow, self.destination)

    @property
    def inbox(self) -> str:
        """The topic of all that the destination is to receive."""
        return naming.inbox(self.flow, self.destination)

    @property
    def positions(self) -> str:
        """The topic of a source's positions."""
        return naming.positions(self.flow, self.destination)

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


def require_destination(backbone: Backbone, target: Target) -> None:
    """Make sure that the destination has an inbox in this Kafka. Blocks; writes nothing.

    Raises ConfigurationError, which names the destinations that there are, and KafkaUnavailable.
    """
    topics = kafka.existing_topics(kafka.admin(backbone), expected=[target.inbox])
    if target.inbox in topics:
        return
    there = sorted(naming.destination_of(topic) for topic in topics if naming.is_inbox(topic))
    raise ConfigurationError(
        f"there is no destination {str(target)!r} at {backbone.bootstrap} "
        f"(no topic {target.inbox!r}); {_suggestion(target, there)}"
    )


def require_letters(backbone: Backbone, target: Target) -> set[str]:
    """All topics of this Kafka, among which is the target's dead-letter queue. Blocks.

    Raises ConfigurationError, which names the destinations and sources that have one, and
    KafkaUnavailable.
    """
    topics = kafka.existing_topics(kafka.admin(backbone), expected=[target.dlq])
    if target.dlq in topics:
        return set(topics)
    there = sorted(filter(None, map(naming.writer_of_dlq, topics)))
    raise ConfigurationError(
        f"{target} has no dead-letter queue at {backbone.bootstrap} (no topic {target.dlq!r}); "
        f"{_suggestion(target, there)}"
    )


def require_source(backbone: Backbone, target: Target) -> None:
    """Make sure that the source has its topics in this Kafka. Blocks; writes nothing.

    Raises ConfigurationError, which names the sources that there are, and KafkaUnavailable.
    """
    topics = kafka.existing_topics(kafka.admin(backbone))
    if target.positions in topics:
        return
    there = sorted(filter(None, map(naming.source_of, topics)))
    raise ConfigurationError(
        f"there is no source {str(target)!r} at {backbone.bootstrap} "
        f"(no topic {target.positions!r}); {_suggestion(target, there)}"
    )


def _suggestion(target: Target, there: Iterable[str]) -> str:
    """Those of that flow, or if it has none those of all flows, most similar first."""
    every = list(there)
    own = [name for name in every if name.startswith(f"{target.flow}.")]
    if not every:
        return "no flow has run there yet: is it the right environment (--env)?"
    near = own or sorted(every, key=lambda name: -SequenceMatcher(a=name, b=str(target)).ratio())
    more = f" and {len(near) - SHOWN} more" if len(near) > SHOWN else ""
    return f"there are: {', '.join(near[:SHOWN])}{more}"
