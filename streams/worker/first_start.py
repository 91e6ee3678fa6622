"""Where a flow begins to route when it runs for the first time."""

from __future__ import annotations

from functools import partial
from typing import Any

from trunkline.params import Backbone
from trunkline.streams.control.clients import ControlClients
from trunkline.streams.control.kafka_topic import ControlWriter, read_control
from trunkline.streams.flow.definition import Flow
from trunkline.streams.flow.start import Start
from trunkline.streams.route.first_start import FirstStart


def first_start_of(
    flow: Flow[Any], backbone: Backbone, clients: ControlClients | None
) -> FirstStart | None:
    """What commits the first offsets of topics with a ``start=``; None if there is none."""
    topics = [route.topic for route in flow.routes if route.topic.start != "earliest"]
    starts: dict[str, Start] = {topic.topic: topic.start for topic in topics}
    if not starts:
        return None
    writer = ControlWriter(backbone, flow.control, clients)
    return FirstStart(
        starts,
        read=partial(read_control, backbone, flow.control),
        write=lambda key, value: writer.write({key: value}),
    )
