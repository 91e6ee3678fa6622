"""Pausing, resuming and resetting a source of running workers, and how it is now.

A command is a control record of the flow, as a destination's is. Where the source stands is in its
positions topic; how it is, the worker tells that runs it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from confluent_kafka import KafkaException

from trunkline import kafka, naming
from trunkline.admin.audit import put_audited
from trunkline.admin.overrides import end_of_pause, override_with_audit
from trunkline.admin.status import group_members
from trunkline.admin.targets import Target, require_source
from trunkline.connectors.base import Gauge, Position
from trunkline.errors import ConfigurationError
from trunkline.kafka.reading import last_record
from trunkline.params import Backbone
from trunkline.streams.admission.manual import Override, OverrideRecord
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.streams.control.kafka_topic import read_control
from trunkline.streams.control.records import SnapshotKey, SourceKey
from trunkline.streams.control.status import SOURCE_STALE_AFTER, record_age
from trunkline.streams.publish.stored_position import reset_record, stored_position
from trunkline.times import iso

_TRIES = 5
"""How often a reset is tried: the worker may begin its next transaction in the very moment."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """What the worker last told that runs a source.

    ``state``: running, waiting (nothing came since its start), failing, paused, stopped (a person
    must mend something), ended, or of one that its system calls listening; ``since`` when
    (ISO 8601). ``error``: the last one since it was
    read successfully. ``late_since``: what happened since then is not published, or may not be.
    ``at``: when it told this, ``age`` seconds ago. ``stale``: that is too long ago to count.
    ``gauges``: what its system knows of it, with a ``warning`` where something threatens it.
    ``rate``: records a second that it read in the minute before it told this; 0 of one that is
    stale.
    """

    worker: str
    state: str
    since: str | None
    error: str | None
    late_since: str | None
    at: str
    age: float
    stale: bool
    gauges: Sequence[Gauge] = ()
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """A snapshot that was asked for, or that a source takes of a table which is new to it.

    ``state``: running, paused, stopped (until the worker has heard it), failed; ``rows`` so far, of
    ``about`` so many, if somebody knows; ``error``: why it failed. One that is done is not shown.
    """

    id: str
    table: str
    where: str
    state: str
    rows: int
    about: int | None
    error: str | None
    by: str
    why: str
    at: str


@dataclass(frozen=True, slots=True)
class SourceOverview:
    """How a source is: what an operator commanded, where it stands, and what its worker tells.

    ``members``: how many workers could run it. ``position``: without its
    ``parts``; ``stored_at`` when. ``was_reset``: it begins anew, and nothing was published since.
    ``status``: None if no worker has run it, or the last one has ended well. ``late``: seconds that
    it is behind, also while it fails or waits; None if nobody knows. ``snapshots``: which it reads
    while changes go on, or is to read.
    """

    target: Target
    override: OverrideRecord
    in_force: Override
    members: int = 0
    position: Position | None = None
    stored_at: datetime | None = None
    was_reset: bool = False
    status: SourceStatus | None = None
    late: float | None = None
    snapshots: Sequence[SnapshotStatus] = ()


def pause_source(
    backbone: Backbone,
    target: Target,
    *,
    until: datetime | None = None,
    why: str = "",
    by: str = "",
) -> OverrideRecord:
    """Read nothing of the source, in all workers, until ``until`` or until it is resumed.

    Its position stays, and what it needs waits at its system: of PostgreSQL the slot keeps WAL. One
    that is called answers its callers to send again. Returns the command as it is written.
    ``by``: who asks for it; the user of this process by default. Blocks. Writes the control record
    and an audit record in one transaction. Raises ConfigurationError for a source that is not there
    and for an end that is over, and KafkaUnavailable.
    """
    return _commanded(backbone, target, "paused", end_of_pause(until), why, by)


def resume_source(
    backbone: Backbone, target: Target, *, why: str = "", by: str = ""
) -> OverrideRecord:
    """End a pause: the source goes on from its position.

    Does no harm where nothing is commanded. Returns, blocks, writes and raises as ``pause_source``
    does.
    """
    return _commanded(backbone, target, "auto", None, why, by)


def reset_source(
    backbone: Backbone, target: Target, *, why: str = "", by: str = ""
) -> Position | None:
    """Make the source begin anew, as if it had never run: a snapshot first, if it takes one.

    Everything that it reads is published again, with new ids; what was deleted at the system since
    it was published is told by no event. A worker that runs the source begins at once, unless it is
    paused; without one, the next that starts. Returns where the source stood.

    Blocks. The worker that runs the source is fenced: of its transactions, either all of one is
    before the reset, or nothing. Writes the position's record, the control record and an audit
    record in one transaction. Raises ConfigurationError for a source that is not there, or has no
    position, and KafkaUnavailable.
    """
    _require_position(backbone, target)
    at, by = iso(time.time()), by or who()
    stood, former, _ = last_position(backbone, target)
    stood = stood if stood is not None else former
    audit = AuditRecord(
        what="reset", on=target.destination, why=why, who=by, at=at, more={"position": stood}
    )
    for tried in range(1, _TRIES + 1):
        try:
            put_audited(
                backbone,
                target.flow,
                {SourceKey(target.destination, "reset").text: {"by": by, "why": why, "at": at}},
                audit,
                events=[reset_record(target.destination, target.positions, stood)],
                fences=naming.source_transactional_id(target.flow, target.destination),
            )
        except kafka.KafkaUnavailable:
            if tried == _TRIES:
                raise
        else:
            break
    return stood


def request_snapshot(
    backbone: Backbone, target: Target, table: str, *, where: str = "", why: str = "", by: str = ""
) -> str:
    """Have the source read a table's rows again while it goes on with the changes, all of them or
    those of a condition in its system's language. Returns the id of the request.

    Rows come as change ``snapshot``, in the order of their key among them, and never after a newer
    change of theirs. Blocks. Writes the control record and an audit record in one transaction.
    Raises ConfigurationError for a source that is not there, or has no position, and
    KafkaUnavailable. Whether there is such a table, and the condition is one, the worker finds out:
    see ``source_status``.
    """
    _require_position(backbone, target)
    id, at, by = uuid.uuid4().hex[:8], iso(time.time()), by or who()
    asked = {"state": "running", "table": table, "where": where, "by": by, "why": why, "at": at}
    audit = AuditRecord(
        what="snapshot",
        on=target.destination,
        why=why,
        who=by,
        at=at,
        more={"id": id, "table": table, "where": where},
    )
    key = SnapshotKey(target.destination, id).text
    put_audited(backbone, target.flow, {key: asked}, audit)
    return id


def change_snapshot(
    backbone: Backbone,
    target: Target,
    id: str,
    state: Literal["running", "paused", "stopped"],
    *,
    why: str = "",
    by: str = "",
) -> None:
    """Pause a snapshot, have it go on where it stands, or give it up for good. What it has
    published stays.

    Blocks. Writes the control record and an audit record in one transaction. Raises
    ConfigurationError for a snapshot that is not there, or is over, and KafkaUnavailable.
    """
    open_ = [one for one in source_status(backbone, target).snapshots if one.state != "failed"]
    found = next((one for one in open_ if one.id == id), None)
    if found is None:
        there = ", ".join(one.id for one in open_) or "none"
        raise ConfigurationError(f"source {target} reads no snapshot {id!r}; it has {there}")
    at, by = iso(time.time()), by or who()
    asked = {"state": state, "table": found.table, "where": found.where}
    audit = AuditRecord(
        what=f"snapshot {state}", on=target.destination, why=why, who=by, at=at, more={"id": id}
    )
    key = SnapshotKey(target.destination, id).text
    put_audited(backbone, target.flow, {key: {**asked, "by": by, "why": why, "at": at}}, audit)


def source_status(backbone: Backbone, target: Target) -> SourceOverview:
    """How the source is now. Blocks; writes nothing.

    Raises ConfigurationError for a source that is not there, and KafkaUnavailable.
    """
    require_source(backbone, target)
    state, now = read_control(backbone, target.control), time.time()
    members = group_members(backbone, naming.sources_group(target.flow))
    return source_overview(backbone, target, state, members, now)


def source_overview(
    backbone: Backbone,
    target: Target,
    state: Mapping[str, Mapping[str, Any]],
    members: int,
    now: float,
) -> SourceOverview:
    """How the source is at ``now`` (epoch seconds) by the control topic's ``state`` and the number
    of its group's ``members``: for callers that know these already. Its position is read. Blocks.
    Raises KafkaUnavailable."""
    command = OverrideRecord.of(state.get(SourceKey(target.destination, "command").text))
    position, former, stored_at = last_position(backbone, target)
    status = status_of(state, target.destination, now)
    return SourceOverview(
        target,
        command,
        command.in_force(now),
        members=members,
        position=position,
        stored_at=stored_at,
        was_reset=position is None and former is not None,
        status=status,
        late=late(status, stored_at, now),
        snapshots=snapshots_of(state, target.destination, position),
    )


def status_of(
    state: Mapping[str, Mapping[str, Any]], source: str, now: float
) -> SourceStatus | None:
    """What was last told of a source. ``state``: of the flow's control topic; ``now``: epoch
    seconds."""
    value = state.get(SourceKey(source, "status").text)
    if value is None:
        return None
    age, rate = record_age(value, now), value.get("rate")
    # What stopped it stays true until somebody has mended it.
    stale = age > SOURCE_STALE_AFTER and value.get("state") != "stopped"
    return SourceStatus(
        worker=str(value.get("worker")),
        state=str(value.get("state")),
        since=value.get("since"),
        error=value.get("error"),
        late_since=value.get("late_since"),
        at=str(value.get("at")),
        age=age,
        stale=stale,
        gauges=_gauges(value.get("gauges")),
        rate=rate if isinstance(rate, int | float) and not stale else 0.0,
    )


def _gauges(told: object) -> list[Gauge]:
    """From a record, which an older worker may have written, or a newer one."""
    found: list[Gauge] = []
    for one in told if isinstance(told, list) else ():
        with suppress(KeyError, TypeError, ValueError):
            words, warning = str(one.get("words") or ""), str(one.get("warning") or "")
            found.append(Gauge(str(one["name"]), float(one["value"]), words, warning))
    return found


def snapshots_of(
    state: Mapping[str, Mapping[str, Any]], source: str, position: Position | None
) -> list[SnapshotStatus]:
    """The snapshots that are asked for, and those that the position has. ``state``: of the flow's
    control topic."""
    known: dict[str, Mapping[str, Any]] = {}
    if isinstance(position, dict):
        known = dict(position.get("snapshots", {}))
    keys = [key for text in sorted(state) if (key := SnapshotKey.parse(text)) is not None]
    asked = {key.id: state[key.text] for key in keys if key.source == source}
    found = []
    for id in dict.fromkeys([*asked, *known]):
        value, far = asked.get(id, {}), known.get(id, {})
        error = far.get("error") or value.get("error")
        if far.get("done") and not error:
            continue
        found.append(
            SnapshotStatus(
                id,
                table=str(far.get("table") or value.get("table")),
                where=str(value.get("where") or far.get("where") or ""),
                state="failed" if error else str(value.get("state", "running")),
                rows=int(far.get("rows", 0)),
                about=far.get("about"),
                error=error,
                by=str(value.get("by", "")),
                why=str(value.get("why", "")),
                at=str(value.get("at", "")),
            )
        )
    return found


def late(status: SourceStatus | None, stored_at: datetime | None, now: float) -> float | None:
    """Seconds that a source is behind at ``now``. Where no worker runs it, since it last published
    anything."""
    if status is None or status.stale:
        return None if stored_at is None else max(0.0, now - stored_at.timestamp())
    if status.late_since is None:
        return 0.0
    return max(0.0, now - datetime.fromisoformat(status.late_since).timestamp())


def _require_position(backbone: Backbone, target: Target) -> None:
    status = source_status(backbone, target).status
    if status is not None and status.state == "listening":
        raise ConfigurationError(f"source {target} is called by its system: it has no position")


def last_position(
    backbone: Backbone, target: Target
) -> tuple[Position | None, Position | None, datetime | None]:
    """The position, where the source stood when it was reset, and when that was stored; None of
    what there is not. Blocks. Raises KafkaUnavailable, also if there is no topic of positions."""
    group = naming.sources_group(target.flow)
    try:
        message = last_record(backbone, target.positions, group)
    except KafkaException as failure:
        raise kafka.KafkaUnavailable(
            f"{target.positions} could not be read: {failure.args[0].str()}"
        ) from failure
    if message is None:
        return None, None, None
    at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
    return *stored_position(message.value()), at


def _commanded(
    backbone: Backbone, target: Target, state: Override, until: str | None, why: str, by: str
) -> OverrideRecord:
    """Write the command together with its audit record."""
    require_source(backbone, target)
    command, audit = override_with_audit(target, state, until, why, by)
    key = SourceKey(target.destination, "command").text
    put_audited(backbone, target.flow, {key: command.value()}, audit)
    return command
