"""Replays and re-drives of a flow: asked for, listed, paused, resumed, cancelled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trunkline import naming
from trunkline.admin.audit import put_audited
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.replay.request import Request, RequestState
from trunkline.times import iso


def totals(state: Mapping[str, Mapping[str, Any]], id: str) -> dict[str, int]:
    """What has become of the request's events, over all partitions."""
    found: dict[str, int] = {}
    for text, value in state.items():
        key = ReplayKey.parse(text)
        if key is not None and key.id == id and key.partition is not None:
            for what, count in value.get("counts", {}).items():
                found[what] = found.get(what, 0) + count
    return found


def submit(backbone: Backbone, flow: str, request: Request) -> str:
    """Write the request into the flow's control topic, audited, as asked for by this user now;
    returns its id. The workers that route do it, as soon as some run. Blocks. Raises
    KafkaUnavailable."""
    request = replace(request, by=who(), at=iso(time.time()))
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
    return request.id


_AUDITED = ("kind", "destination", "why", "by", "at", "count", "state")
"""Fields of a request that an audit record has a place of its own for, or that say nothing yet."""


def change(backbone: Backbone, flow: str, id: str, state: RequestState, why: str) -> Request:
    """Pause, cancel or continue a request; returns it as it is now. Blocks.

    Raises ConfigurationError if there is no such request or it is over, DataError if it is none
    that this version understands, and KafkaUnavailable.
    """
    record = read_control(backbone, naming.control(flow)).get(ReplayKey(id).text)
    if record is None:
        raise ConfigurationError(f"{flow} has no replay {id!r}: trunkline replay list {flow}")
    request = Request.from_record(id, record)
    if request.state not in ("running", "paused"):
        raise ConfigurationError(f"{request.kind} {id} is {request.state}: ask for a new one")
    what = {"running": "continue", "paused": "pause", "cancelled": "cancel"}[state]
    audit = AuditRecord(what=f"{request.kind} {what}", on=request.destination, why=why, id=id)
    request = request.with_state(state)
    put_audited(backbone, flow, {request.record_key: request.to_record()}, audit)
    return request
