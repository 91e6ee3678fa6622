"""The sink and the journal of a destination that has operations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from trunkline.connectors.base import Sink
from trunkline.streams.check.operations import call_problem
from trunkline.streams.flow.annotations import annotation_error
from trunkline.streams.flow.definition import Destination
from trunkline.streams.journal.journal import CallJournal
from trunkline.streams.operations.sink import OperationSink


def with_operations(
    destination: Destination[Any, Any], sink: Sink[Any], clock: Callable[[], float] = time.time
) -> tuple[Sink[Any], CallJournal | None]:
    """The sink that runs calls, and the journal of how they stand; of a destination without
    operations the sink itself. ``clock``: epoch seconds. Raises ConfigurationError for a sink that
    cannot run them."""
    if not destination.operations:
        return sink, None
    if problem := call_problem(sink):
        raise annotation_error(destination.operations[0], problem)
    journal = CallJournal(destination.calls, clock)
    named = {operation.name: operation for operation in destination.operations}
    return OperationSink(sink, named, journal, clock), journal
