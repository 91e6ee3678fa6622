"""Pausing, forcing and resuming a destination of running workers, and how it is now.

A command is a control record of the flow: every worker that delivers to the destination reads it,
now and after a restart, until another command replaces it or its end has come.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from trunkline import naming
from trunkline.admin.audit import put_audited
from trunkline.admin.backlog import Backlog, destination_backlog
from trunkline.admin.overrides import end_of_pause, override_with_audit
from trunkline.admin.status import WorkerStatus, group_members, worker_statuses
from trunkline.admin.targets import Target, require_destination
from trunkline.params import Backbone
from trunkline.streams.admission.manual import Override, OverrideRecord
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.control.records import ROUTING, OverrideKey


@dataclass(frozen=True, slots=True)
class DestinationOverview:
    """How a destination is: what an operator commanded, and what its workers tell.

    ``override``: the last command, also one whose end has come; ``in_force``: what it means now.
    ``members``: how many workers deliver to it. ``workers``: those that told of trouble; a worker
    for which all is well tells nothing. ``routing``: workers that cannot route some events for
    now, maybe such that are for this destination. ``backlog``: what is not delivered yet; None
    where it was not asked for.
    """

    target: Target
    override: OverrideRecord
    in_force: Override
    members: int
    workers: Sequence[WorkerStatus]
    routing: Sequence[WorkerStatus] = ()
    backlog: Backlog | None = None


def pause_destination(
    backbone: Backbone,
    target: Target,
    *,
    until: datetime | None = None,
    why: str = "",
    by: str = "",
) -> OverrideRecord:
    """Send the destination nothing, in all workers, until ``until`` or until it is resumed.

    Events wait in its inbox, and no attempt is used up. Returns the command as it is written.
    ``by``: who asks for it; the user of this process by default. Blocks. Writes the control record
    and an audit record in one transaction. Raises ConfigurationError for a destination that is not
    there and for an end that is over, and KafkaUnavailable.
    """
    return _commanded(backbone, target, "paused", end_of_pause(until), why, by)


def force_destination(
    backbone: Backbone, target: Target, *, why: str = "", by: str = ""
) -> OverrideRecord:
    """Send to the destination whatever its circuit breaker says, until it is resumed.

    For a system that an operator knows is up, while the breaker still waits to probe it. Returns,
    blocks, writes and raises as ``pause_destination`` does.
    """
    return _commanded(backbone, target, "forced", None, why, by)


def resume_destination(
    backbone: Backbone, target: Target, *, why: str = "", by: str = ""
) -> OverrideRecord:
    """End a pause or a forcing: the circuit breaker decides again.

    Does no harm where nothing is commanded. Returns, blocks, writes and raises as
    ``pause_destination`` does.
    """
    return _commanded(backbone, target, "auto", None, why, by)


def destination_status(backbone: Backbone, target: Target) -> DestinationOverview:
    """How the destination is now. Blocks; writes nothing.

    Raises ConfigurationError for a destination that is not there, and KafkaUnavailable.
    """
    require_destination(backbone, target)
    state = read_control(backbone, target.control)
    members = group_members(backbone, naming.delivery_group(target.flow, target.destination))
    found = overview(target, state, members, time.time())
    return replace(found, backlog=destination_backlog(backbone, target))


def overview(
    target: Target, state: Mapping[str, Mapping[str, Any]], members: int, now: float
) -> DestinationOverview:
    """How the destination is at ``now`` (epoch seconds) by the control topic's ``state``: for
    callers that follow the topic themselves."""
    override = OverrideRecord.of(state.get(OverrideKey(target.destination).text))
    workers = worker_statuses(state, target.destination, now)
    routing = worker_statuses(state, ROUTING, now)
    in_force = override.in_force(now)
    return DestinationOverview(target, override, in_force, members, workers, routing)


def _commanded(
    backbone: Backbone, target: Target, state: Override, until: str | None, why: str, by: str
) -> OverrideRecord:
    """Write the command together with its audit record."""
    require_destination(backbone, target)
    command, audit = override_with_audit(target, state, until, why, by)
    put_audited(
        backbone, target.flow, {OverrideKey(target.destination).text: command.value()}, audit
    )
    return command
