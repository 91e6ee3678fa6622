"""What came of a query: the records of ``trunkline.replies``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson

MAX_REPLY = 900_000
"""Bytes of the answer of a query: what Kafka takes in one record."""
KINDS = frozenset(
    (
        "done",
        "rejected-by-system",
        "system-failed",
        "system-credentials-rejected",
        "system-unavailable",
        "system-timeout",
        "reply-too-large",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryReply:
    """``kind``: ``done``, or the kind of problem that the caller is told of; ``status``: the
    system's, and ``code`` its own word; ``reply``: what it answered, as JSON text; ``after``:
    seconds after which to ask again, 0 where nobody knows."""

    query: str
    kind: str
    status: int | None = None
    reply: str | None = None
    why: str = ""
    after: float = 0.0
    code: str = ""

    def encoded(self) -> bytes:
        """The value of its record: JSON. Its key is the query's id."""
        return orjson.dumps(asdict(self))


def parsed_reply(value: bytes | None) -> QueryReply | None:
    """The reply that a record is; None for any other."""
    try:
        found = QueryReply(**orjson.loads(value or b""))
    except (ValueError, TypeError):
        return None
    types: list[tuple[Any, tuple[type, ...]]] = [
        (found.query, (str,)),
        (found.status, (int, type(None))),
        (found.reply, (str, type(None))),
        (found.why, (str,)),
        (found.code, (str,)),
        (found.after, (float, int)),
    ]
    return found if found.kind in KINDS and all(type(v) in kinds for v, kinds in types) else None
