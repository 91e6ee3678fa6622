"""What the audit of gateways says: who asked for what, by which right, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

DENIED = frozenset({"unauthorized", "forbidden", "quota-exceeded"})
"""Problems by which a request is denied for who sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRecord:
    """One request. ``at``: ISO 8601, UTC; ``client``: "" if nobody knows; ``by``: its key's id, or
    ``token``; ``what``: call, query, preview, publish, cancel, approve or resolve, or
    ``unauthorized``; ``on``: the operation with its system, or the topic; ``right``: the pattern or
    the role that allowed it, or the right that is missing; ``call``: its id; ``outcome``: done,
    accepted, or the kind of problem; ``fields``: the names of what was sent, never values;
    ``more``: how many of the kind were not written before it."""

    at: str
    client: str = ""
    by: str = ""
    what: str
    on: str = ""
    right: str = ""
    call: str = ""
    outcome: str
    status: int
    fields: Sequence[str] = ()
    more: int = 0

    @property
    def is_denied(self) -> bool:
        """Whether it was denied for who sent it."""
        return self.outcome in DENIED

    def encoded(self) -> bytes:
        """The value of its record: JSON."""
        return orjson.dumps(self)


def parsed_access(value: bytes | None) -> AccessRecord | None:
    """The record of a message's value; None for what is none."""
    try:
        given: dict[str, Any] = orjson.loads(value or b"")
        found = AccessRecord(**given)
    except (ValueError, TypeError):
        return None
    texts = (found.at, found.client, found.by, found.what, found.on, found.right, found.call)
    sound = all(isinstance(text, str) for text in (*texts, found.outcome, *found.fields))
    return found if sound and type(found.status) is int and type(found.more) is int else None
