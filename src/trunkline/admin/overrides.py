"""What pauses, forces or resumes a destination or a source: the command, and the record of it."""

from __future__ import annotations

import time
from datetime import datetime

from trunkline.admin.targets import Target
from trunkline.errors import ConfigurationError
from trunkline.streams.admission.manual import Override, OverrideRecord
from trunkline.streams.control.audit import AuditRecord, who
from trunkline.times import iso


def end_of_pause(until: datetime | None) -> str | None:
    """When a pause ends, in ISO 8601; None: when it is resumed. Raises ConfigurationError for an
    end that is over."""
    if until is None:
        return None
    ends = iso(until.timestamp())
    if until.timestamp() <= time.time():
        raise ConfigurationError(f"a pause until {ends} is over already")
    return ends


def override_with_audit(
    target: Target, state: Override, until: str | None, why: str, by: str
) -> tuple[OverrideRecord, AuditRecord]:
    """The command as of now, and its audit record: to be written together. ``by``: who asks for
    it; the user of this process by default."""
    command = OverrideRecord(state, until, by=by or who(), why=why, at=iso(time.time()))
    audit = AuditRecord(
        what="pause" if state == "paused" else "resume",
        on=target.destination,
        why=why,
        who=command.by,
        at=command.at,
        more={"state": state, "until": until},
    )
    return command, audit
