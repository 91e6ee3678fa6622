"""What the flows of one process have in common, and each one's part of its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trunkline.params import Backbone
from trunkline.streams.control.clients import ControlClients
from trunkline.streams.deliver.backpressure import MAX_OPEN
from trunkline.streams.metrics import Metrics
from trunkline.streams.tracing.setup import traces_of
from trunkline.streams.worker.access import AccessRounds

AHEAD_KB = 65_536
"""Kilobytes that all consumers of a process together fetch ahead, at about four a flow; alone each
may have 16,384."""
LEAST_AHEAD_KB = 1_024
OPEN = 100_000
"""Events that all destinations of a process together have read and not completed."""
LEAST_OPEN = 500
"""Of one destination, however many there are: a batch must fit."""


@dataclass
class Shared:
    """Clients and metrics of a process, for so many ``flows``. ``asked``: the backbone as their
    environment has it; ``backbone``: with each flow's part of the process's memory."""

    asked: Backbone
    flows: int
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.backbone = fetch_share(self.asked, self.flows)
        self.control = ControlClients(self.backbone)
        self.access = AccessRounds(self.backbone)
        self.traces = traces_of(self.asked, self.metrics)


def open_share(flows: int) -> int:
    """``max_open`` of a destination of each of so many flows.

    Case: the system of fifty destinations is down, and behind each stand more events than fit in
    memory. With 10,000 each, of 1 kB, they would take a gigabyte.
    """
    return max(LEAST_OPEN, min(MAX_OPEN, OPEN // flows))


def fetch_share(backbone: Backbone, flows: int) -> Backbone:
    """The backbone with what each of so many flows may fetch ahead of its events; what the
    environment says wins."""
    ahead = max(LEAST_AHEAD_KB, AHEAD_KB // (4 * flows))
    more: Mapping[str, str] = {"queued.max.messages.kbytes": str(ahead)}
    return backbone.model_copy(update={"kafka": {**more, **backbone.kafka}})
