"""Replays and re-drives of a flow: asked for, listed, paused, resumed, cancelled."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from trunkline import naming
from trunkline.admin.audit import put_audited
from trunkline.admin.replay_scope import Wanted
from trunkline.errors import ConfigurationError
from trunkline.params import Backbone
from trunkline.streams.control.audit import AuditRecord
from trunkline.streams.control.records import ReplayKey
from trunkline.streams.control.topic import read_control
from trunkline.streams.replay.request import State


def totals(state: Mapping[str, Mapping[str, Any]], id: str) -> dict[str, int]:
    """What has become of the request's events, over all partitions."""
    found: dict[str, int] = {}
    for text, value in state.items():
        key = ReplayKey.parse(text)
        if key is not None and key.id == id and key.partition is not None:
            for what, count in value.get("counts", {}).items():
                found[what] = found.get(what, 0) + count
    return found


def ask(backbone: Backbone, flow: str, wanted: Wanted) -> str:
    """Have it done; returns its id. The workers that route begin as soon as some run. Blocks.
    Raises KafkaUnavailable."""
    id, value = uuid.uuid4().hex[:12], wanted.value()
    about = ("topic", "ranges", "mode", "key", "where", "rate", "force")
    audit = AuditRecord(
        what="replay",
        on=wanted.destination,
        why=wanted.why,
        who=value["by"],
        at=value["at"],
        id=id,
        more={name: value[name] for name in about if value[name]},
    )
    put_audited(backbone, flow, {ReplayKey(id).text: value}, audit)
    return id


def change(backbone: Backbone, flow: str, id: str, state: State, why: str) -> Mapping[str, Any]:
    """Pause, cancel or continue a request; returns what it was. Blocks.

    Raises ConfigurationError if there is no such request or it is over, and KafkaUnavailable.
    """
    value = read_control(backbone, naming.control(flow)).get(ReplayKey(id).text)
    if value is None:
        raise ConfigurationError(f"{flow} has no replay {id!r}: trunkline replay list {flow}")
    if value["state"] not in ("running", "paused"):
        raise ConfigurationError(f"{value['kind']} {id} is {value['state']}: ask for a new one")
    what = {"running": "continue", "paused": "pause", "cancelled": "cancel"}[state]
    told = AuditRecord(what=f"{value['kind']} {what}", on=value["destination"], why=why, id=id)
    put_audited(backbone, flow, {ReplayKey(id).text: {**value, "state": state}}, told)
    return value
