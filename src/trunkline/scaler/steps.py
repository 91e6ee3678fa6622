"""What can be scaled: the steps of flows, and what each of them reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from trunkline import naming
from trunkline.errors import ConfigurationError
from trunkline.streams.flow.definition import Destination, Flow
from trunkline.streams.flow.policy import Policy


class StepKey(NamedTuple):
    """Names a step: ``step`` is source, route or deliver; ``destination`` of a delivery."""

    flow: str
    step: str
    destination: str = ""


@dataclass(frozen=True, slots=True)
class ScaledStep:
    """A step and what it reads. ``topics``: where events arrive; ``tiers``: where they wait for
    another attempt. ``policy``: of a delivery."""

    key: StepKey
    group: str
    topics: tuple[str, ...]
    tiers: tuple[str, ...] = ()
    policy: Policy | None = None

    @property
    def limit(self) -> float | None:
        """Events a second that all its workers together may send; None for no limit."""
        if self.policy is None:
            return None
        own, system = self.policy.limits.rate, self.policy.system
        of_system = None if system is None else system.per_second
        return min((rate for rate in (own, of_system) if rate is not None), default=None)


def steps_of(flow: Flow[Any]) -> list[ScaledStep]:
    """The steps of a flow that can do without workers now and then. A source is none: what reads a
    change log, or listens, must always run."""
    routed = tuple(dict.fromkeys(route.topic.topic for route in flow.routes))
    route = ScaledStep(StepKey(flow.name, "route"), naming.route_group(flow.name), routed)
    found = [route] if routed else []
    return found + [_delivery(flow, destination) for destination in flow.destinations]


def _delivery(flow: Flow[Any], to: Destination[Any, Any]) -> ScaledStep:
    key = StepKey(flow.name, "deliver", to.name)
    group = naming.delivery_group(flow.name, to.name)
    return ScaledStep(key, group, (to.inbox,), to.tiers, to.policy)


STEPS = ("source", "route", "deliver")


class Meant(NamedTuple):
    """What a trigger asks about: ``key``, the steps whose work that is, and whether workers must
    ``always`` run, as those of a source."""

    key: StepKey
    keys: tuple[StepKey, ...]
    always: bool


class Catalogue:
    """Which steps are meant by the metadata of a ScaledObject's trigger.

    ``flows``: the flows, by how they were named to us: a file, as the chart names it; their own
    names are taken as well.
    """

    def __init__(self, flows: Mapping[str, Flow[Any]]) -> None:
        self._names = {flow.name: flow.name for flow in flows.values()}
        self._names |= {given: flow.name for given, flow in flows.items()}
        self._sources = {flow.name for flow in flows.values() if flow.sources}
        by_name = {flow.name: flow for flow in flows.values()}
        self.steps = [step for flow in by_name.values() for step in steps_of(flow)]

    def meant(self, metadata: Mapping[str, str]) -> Meant:
        """What a trigger means: all deliveries of a flow, if it names no destination. A step that
        the flow has not is nothing to do: a workload of several flows has one set of steps. Raises
        ConfigurationError for what there cannot be."""
        flow, step = metadata.get("flow", ""), metadata.get("step", "")
        destination = metadata.get("destination", "")
        name = self._names.get(flow)
        if name is None:
            known = ", ".join(sorted(set(self._names.values())))
            raise ConfigurationError(f"flow {flow!r} is none of this scaler's, which has {known}")
        if step not in STEPS:
            raise ConfigurationError(f"step {step!r} of flow {name}: it is {', '.join(STEPS)}")
        asked = StepKey(name, step, destination)
        keys = tuple(one.key for one in self.steps if _is_part(one.key, asked))
        if destination and not keys:
            raise ConfigurationError(f"flow {name} has no destination {destination!r} for {step}")
        return Meant(asked, keys, always=step == "source" and name in self._sources)


def _is_part(key: StepKey, asked: StepKey) -> bool:
    named = asked.destination in ("", key.destination)
    return (key.flow, key.step) == (asked.flow, asked.step) and named
