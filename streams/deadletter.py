"""Dead letters: the raw bytes of what could not be processed, with where, why and when."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime

from trunkline.errors import TrunklineError
from trunkline.event import Headers, replaced
from trunkline.kafka import Out

_LONGEST = 8_000


def dead_letter(
    topic: str,
    *,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    came_from: str,
    stage: str,
    error: BaseException,
) -> Out:
    """The record of one dead letter: key, value and headers as they were, to the byte.

    Added headers: ``tl_from`` (topic/partition/offset of the original), ``tl_stage``
    (``publish``, ``route`` or ``deliver``), ``tl_error_class``, ``tl_error``, ``tl_traceback``
    (for anything that is not an error of ours) and ``tl_first_failed_at``.
    """
    added = {
        "tl_from": came_from.encode(),
        "tl_stage": stage.encode(),
        "tl_error_class": type(error).__name__.encode(),
        "tl_error": _cut(str(error)),
        "tl_first_failed_at": datetime.now(UTC).isoformat().encode(),
    }
    if not isinstance(error, TrunklineError):
        added["tl_traceback"] = _cut("".join(traceback.format_exception(error)))
    return topic, key, value, replaced(headers, added)


def _cut(text: str) -> bytes:
    """At most 8,000 bytes, keeping the end, where a traceback says what happened."""
    return text.encode(errors="replace")[-_LONGEST:]
