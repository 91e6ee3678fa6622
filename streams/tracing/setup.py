"""Whether there are traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.errors import MissingExtra
from trunkline.params import Backbone
from trunkline.streams.metrics import Metrics

if TYPE_CHECKING:
    from trunkline.streams.tracing.traces import Traces


def traces_of(backbone: Backbone, metrics: Metrics) -> Traces | None:
    """What tells the collector; None where the backbone names none. Raises MissingExtra."""
    if not backbone.traces:
        return None
    # OpenTelemetry is loaded where somebody wants traces: 20 MB and half a second elsewhere.
    try:
        from trunkline.streams.tracing.traces import Traces
    except ModuleNotFoundError as error:
        raise MissingExtra("traces (TRUNKLINE_TRACES)", "otel") from error
    return Traces.of(backbone, metrics)
