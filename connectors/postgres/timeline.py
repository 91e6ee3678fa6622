"""Whether a position lies in the log of the server that is there now.

A standby that is promoted begins a timeline of its own, behind what it had of its primary's log.
What the primary wrote behind that point is not there; and what the standby writes then has the same
numbers. So a position of the old timeline behind that point looks like one of the new log, as soon
as that has grown so far: streaming from it would pass over what the new primary wrote before.

PostgreSQL documentation, "Streaming Replication Protocol": IDENTIFY_SYSTEM, TIMELINE_HISTORY.
"""

from __future__ import annotations

import re
from typing import Any

from trunkline.connectors.postgres.connection import translated
from trunkline.connectors.postgres.decoder import lsn_number, lsn_text
from trunkline.connectors.postgres.statements import begin_anew
from trunkline.errors import ConfigurationError

_SWITCH = re.compile(r"^\s*(\d+)\s+([0-9A-F]+/[0-9A-F]+)", re.MULTILINE)
"""A line of a history: a former timeline, and the point up to which its log is shared."""


def require_shared(cursor: Any, stored: int | None, lsn: int, slot: str) -> int:
    """The server's timeline, asked on the connection that is to stream. ``stored``: that of the
    position ``lsn``; None for a position that does not tell it.

    Raises ConfigurationError if the server's log is another one than the position's, before it.
    """
    with translated("asking for the timeline"):
        cursor.execute("IDENTIFY_SYSTEM")
        present = int(cursor.fetchone()[1])
        if stored is None or stored == present:
            return present
        cursor.execute(f"TIMELINE_HISTORY {present}")
        history = cursor.fetchone()[1]
    text = history if isinstance(history, str) else bytes(history).decode()
    shared = switches(text).get(stored)
    if shared is None or lsn > shared:
        up_to = "none of it" if shared is None else f"it up to {lsn_text(shared)} only"
        raise ConfigurationError(
            f"the stored position {lsn_text(lsn)} is of timeline {stored}, and the server is on "
            f"timeline {present}, which has {up_to}: a standby was promoted, or a backup restored, "
            "that did not have all that the source has published. What the server has written "
            "since would be passed over, and what is lost there would stay at the destinations. "
            f"{begin_anew(slot)}"
        )
    return present


def switches(history: str) -> dict[int, int]:
    """Up to where a server shares the log of each former timeline, by its history file."""
    return {int(number): lsn_number(at) for number, at in _SWITCH.findall(history)}
