"""Names that a flow's own consumer groups have: ``orders.route``, ``orders.sources``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trunkline import naming
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.problems import Problem


def group_problems(flow: Flow[Any]) -> Iterator[Problem]:
    """Destinations whose consumer group would be that of the workers that route, or run sources:
    each would be given the other's partitions, and take them for its own. And a flow whose topics
    would be those of all gateways."""
    if flow.name == naming.GATEWAYS:
        why = "its topics would be those that all gateways and workers have in common"
        yield Problem(flow.place, f"flow {flow.name!r}: {why}; choose another name")
    taken = {
        naming.route_group(flow.name): "workers that route the flow",
        naming.sources_group(flow.name): "workers that run its sources",
    }
    for destination in flow.destinations:
        group = naming.delivery_group(flow.name, destination.name)
        if group in taken:
            yield Problem(
                destination.place,
                f"{destination.name}: {group!r} is the consumer group of the {taken[group]}: "
                "choose another name",
            )
