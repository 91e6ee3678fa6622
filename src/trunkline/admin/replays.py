"""Requests to a flow's workers: replays, re-drives and discards, asked for, watched and ended.

A request is a control record of the flow. The workers that route do what it says, as soon as some
run, and write how far they are beside it. So all that is here can be done while none runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any

from trunkline import naming
from trunkline.admin.audit import put_audited
from trunkline.admin.replay_scope import Bound, Preview, ReplayScope
from trunkline.admin.status import group_members
from trunkline.admin.targets import Target, require_destination
from trunkline.errors import ConfigurationError, DataError
from trunkline.kafka.offsets import Partition
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.registry import registry_of
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.streams.control.kafka_topic import KafkaControl, read_control
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.replay.predicate import Predicate
from trunkline.streams.replay.request import (
    PartitionProgress,
    ReplayMode,
    Request,
    RequestState,
    merge_counts,
)
from trunkline.times import iso

log = logging.getLogger(__name__)

UNFINISHED: tuple[RequestState, ...] = ("running", "paused")
"""States of a request that is not over."""

FAILURE_POLL = 1.0
"""Seconds between two looks whether the control topic can still be followed."""


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """A request, and how far it is.

    ``counts``: what became of its events so far, over all partitions, as ``sent`` or
    ``superseded``. ``partitions``: how far each canonical partition is that workers have begun.
    """

    request: Request
    counts: Mapping[str, int]
    partitions: Mapping[Partition, PartitionProgress]

    @property
    def over(self) -> bool:
        """Whether it is done, cancelled or refused: nothing more will happen."""
        return self.request.state not in UNFINISHED


# Asking


def plan_replay(
    backbone: Backbone,
    target: Target,
    topic: str,
    *,
    start: Bound = None,
    until: Bound = None,
    mode: ReplayMode = "state",
    key: str | None = None,
    where: str | None = None,
    rate: float | None = None,
    force: bool = False,
    why: str = "",
) -> Request:
    """The request to send past events of the canonical ``topic`` to the destination again.

    ``start``, ``until``: a time (local if it names no zone) or an offset of each partition; None
    for all that the flow has routed. What is not routed yet is never part of it: it comes by
    itself. The other arguments are fields of ``Request``; ``where`` is an expression as
    docs/replay.md describes it.

    Blocks; writes nothing: give it to ``preview_replay`` or ``submit_request``. Raises
    ConfigurationError for a destination or topic that is not there, a topic that the flow has
    routed nothing of, and an expression that is none; and KafkaUnavailable.
    """
    predicate = Predicate(where).text if where else None
    require_destination(backbone, target)
    return Request(
        kind="replay",
        destination=target.destination,
        ranges=ReplayScope(backbone, target.flow, topic).ranges(start, until),
        mode=mode,
        key=key,
        where=predicate,
        rate=rate,
        force=force,
        why=why,
    )


def preview_replay(backbone: Backbone, flow: str, request: Request) -> Preview:
    """What a planned replay would send as of now, before its routes have their say.

    Reads every event of its ranges, and in mode "state" all that are newer: minutes for millions.
    Blocks; writes nothing. Raises KafkaUnavailable and RegistryUnavailable.
    """
    with closing(registry_of(backbone)) as registry:
        scope = ReplayScope(backbone, flow, request.topic)
        return scope.count(request, Codec(registry).decode_any)


def submit_request(backbone: Backbone, flow: str, request: Request, *, by: str = "") -> Request:
    """Hand a planned request to the workers that route the flow; returns it as it is written.

    ``by``: who asks; the user of this process by default. Blocks. Writes the control record and an
    audit record in one transaction. Raises KafkaUnavailable, and ConfigurationError if the flow's
    control and audit topics are missing and may not be created.
    """
    request = replace(request, by=by or who(), at=iso(time.time()))
    record = request.to_record()
    audit = AuditRecord(
        what=request.kind,
        on=request.destination,
        why=request.why,
        who=request.by,
        at=request.at,
        count=request.count,
        id=request.id,
        more={name: value for name, value in record.items() if value and name not in _AUDITED},
    )
    put_audited(backbone, flow, {request.record_key: record}, audit)
    return request


_AUDITED = ("kind", "destination", "why", "by", "at", "count", "state")
"""Fields of a request that an audit record has a place of its own for, or that say nothing yet."""


# Changing


def pause_request(
    backbone: Backbone, flow: str, id: str, *, why: str = "", by: str = ""
) -> Request:
    """Hold a request: what is sent is sent, and nothing more until it is continued.

    Returns the request as it is now. ``by``: who asks; the user of this process by default.
    Blocks. Writes the control record and an audit record in one transaction. Raises
    ConfigurationError if there is no such request or it is over, DataError if this version does
    not understand it, and KafkaUnavailable.
    """
    return _with_state(backbone, flow, id, "paused", "pause", why, by)


def continue_request(
    backbone: Backbone, flow: str, id: str, *, why: str = "", by: str = ""
) -> Request:
    """Go on with a paused request. Returns, blocks, writes and raises as ``pause_request``."""
    return _with_state(backbone, flow, id, "running", "continue", why, by)


def cancel_request(
    backbone: Backbone, flow: str, id: str, *, why: str = "", by: str = ""
) -> Request:
    """End a request for good: what is sent is sent. Returns, blocks, writes and raises as
    ``pause_request``."""
    return _with_state(backbone, flow, id, "cancelled", "cancel", why, by)


def _with_state(
    backbone: Backbone, flow: str, id: str, state: RequestState, deed: str, why: str, by: str
) -> Request:
    was = request_status(backbone, flow, id)
    if was.over:
        request = was.request
        raise ConfigurationError(f"{request.kind} {id} is {request.state}: ask for a new one")
    request = was.request.with_state(state)
    audit = AuditRecord(
        what=f"{request.kind} {deed}", on=request.destination, why=why, who=by or who(), id=id
    )
    put_audited(backbone, flow, {request.record_key: request.to_record()}, audit)
    return request


# Watching


def list_requests(backbone: Backbone, flow: str) -> list[RequestStatus]:
    """The flow's replays, re-drives and discards, the newest first; those that were over 90 days
    after they were asked for are forgotten. Blocks; writes nothing. Raises KafkaUnavailable."""
    return requests_in(read_control(backbone, naming.control(flow)))


def request_status(backbone: Backbone, flow: str, id: str) -> RequestStatus:
    """One request, and how far it is. Blocks; writes nothing.

    Raises ConfigurationError if there is none with this id, DataError if this version does not
    understand it, and KafkaUnavailable.
    """
    return _require(flow, id, read_control(backbone, naming.control(flow)))


async def follow_request(
    backbone: Backbone, flow: str, id: str
) -> AsyncGenerator[RequestStatus, None]:
    """Yield how a request is: now, and after each change until it is over. Writes nothing.

    Use it with ``contextlib.aclosing`` where you may leave before the end, so that its reader of
    the control topic stops. Waits while Kafka is away. Raises ConfigurationError if there is no
    request with this id, or no more, and DataError if this version does not understand it.
    """
    control = KafkaControl(backbone, naming.control(flow))
    changed = asyncio.Event()
    try:
        await control.start()
        # The prefix covers the request's own record and those of its partitions.
        control.subscribe(ReplayKey(id).text, lambda key, value: changed.set())
        while True:
            changed.clear()
            status = _require(flow, id, control.state)
            yield status
            if status.over:
                return
            while not changed.is_set():
                if control.failure is not None:
                    raise control.failure
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), FAILURE_POLL)
    finally:
        await control.stop()


def routing_workers(backbone: Backbone, flow: str) -> int:
    """How many workers route the flow now: without any a request waits until one runs.

    Blocks. Raises KafkaUnavailable.
    """
    return group_members(backbone, naming.route_group(flow))


def requests_in(state: Mapping[str, Mapping[str, Any]]) -> list[RequestStatus]:
    """The requests in a control topic's ``state``, the newest first: for callers that follow the
    topic themselves. What this version does not understand is logged and left out."""
    found: list[RequestStatus] = []
    for id, records in _by_request(state).items():
        if None not in records:  # progress of a request that is removed already
            continue
        try:
            found.append(_status_of(id, records))
        except (ConfigurationError, DataError) as error:
            log.error("the control record %r is left out: %s", ReplayKey(id).text, error)
    return sorted(found, key=lambda one: one.request.at, reverse=True)


Records = dict[Partition | None, Mapping[str, Any]]
"""Control records of one request: under None its own, else how far a partition is."""


def _by_request(state: Mapping[str, Mapping[str, Any]]) -> dict[str, Records]:
    found: dict[str, Records] = defaultdict(dict)
    for text in sorted(state):
        if (key := ReplayKey.parse(text)) is not None:
            found[key.id][key.partition] = state[text]
    return found


def _require(flow: str, id: str, state: Mapping[str, Mapping[str, Any]]) -> RequestStatus:
    records = _by_request(state).get(id, {})
    if None not in records:
        raise ConfigurationError(f"{flow} has no replay {id!r}: trunkline replay list {flow}")
    return _status_of(id, records)


def _status_of(id: str, records: Records) -> RequestStatus:
    partitions = {
        partition: PartitionProgress.from_record(record)
        for partition, record in records.items()
        if partition is not None
    }
    counts: dict[str, int] = {}
    for progress in partitions.values():
        counts = merge_counts(counts, progress.counts)
    return RequestStatus(Request.from_record(id, records[None]), counts, partitions)
