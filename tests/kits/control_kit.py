"""Control records as tests write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.params import Backbone
from trunkline.streams.control.kafka_topic import ControlWriter


def put_control(
    backbone: Backbone, topic: str, changes: Mapping[str, Mapping[str, Any] | None]
) -> None:
    """Write values, None to remove a key; returns when Kafka has acknowledged all of them.

    Blocks. Raises KafkaUnavailable: then some or all of them may have been written.
    """
    ControlWriter(backbone, topic).write(changes)
