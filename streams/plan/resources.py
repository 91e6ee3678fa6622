"""What a plan speaks of: topics, subjects and consumer groups, each as attributes of text.

Pure. A resource that is wanted, one that is there, and the difference of both have one form, so
that comparing, saving and comparing again need no rule for each kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

ResourceKind = Literal["topic", "subject", "group"]
KINDS: tuple[ResourceKind, ...] = get_args(ResourceKind)
PlanAction = Literal["create", "alter", "delete"]
ACTIONS: tuple[PlanAction, ...] = get_args(PlanAction)


class Resource(NamedTuple):
    """Something in Kafka or in the registry, by its name."""

    kind: ResourceKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


ResourceState = Mapping[str, str]
"""A resource's attributes. A topic's: ``partitions``, ``replication`` and its settings, none where
they may not be seen. A subject's: ``schema``, as JSON. A group's: its ``members``."""

ResourceStates = Mapping[Resource, ResourceState]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is to be done to one resource.

    ``was``, ``becomes``: the attributes that differ, all of a new resource. ``refused``: why it is
    not done, by what a person names to have it done all the same, as ``partitions:orders.x``.
    ``note``: what a person should know of it.
    """

    resource: Resource
    action: PlanAction
    was: ResourceState = field(default_factory=dict)
    becomes: ResourceState = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def forced(self, names: frozenset[str]) -> Difference:
        """The same, but for those refusals that are named."""
        left = {name: why for name, why in self.refused.items() if name not in names}
        return replace(self, refused=left)


@dataclass(frozen=True, slots=True)
class Plan:
    """The differences between flows and a cluster, in the order in which they are mended.

    ``cluster``: its id; ``environment``: of which file, or "". ``seen``: all that was looked at, as
    it was. ``leftovers``: what no flow needs any more, and the plan does not remove, with what it
    holds. ``notes``: what differs and cannot be mended from here.
    """

    flows: tuple[str, ...]
    environment: str
    cluster: str
    differences: tuple[Difference, ...]
    seen: ResourceStates
    leftovers: Mapping[Resource, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def refusals(self) -> dict[str, str]:
        """Why it cannot be applied, by what would force it."""
        return {name: why for one in self.differences for name, why in one.refused.items()}


def after(seen: ResourceState | None, difference: Difference) -> ResourceState | None:
    """How a resource is once its difference is mended; None: it is not there."""
    if difference.action == "delete":
        return None
    return {**(seen or {}), **difference.becomes}
