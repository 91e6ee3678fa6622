"""Dead letters: the raw bytes of what could not be processed, with where, why and when."""

from __future__ import annotations

import time
import traceback

from trunkline.event import Headers, replaced
from trunkline.kafka import Out
from trunkline.times import iso

LONGEST = 8_000
"""Bytes of an error's message, and of its traceback, that a dead letter carries."""

DEAD_LETTER_HEADERS = frozenset(
    (
        "tl_dead_from",
        "tl_dead_at",
        "tl_stage",
        "tl_error_class",
        "tl_error",
        "tl_traceback",
        "tl_flow_version",
    )
)
"""Headers of dead letters alone: what is re-driven goes without them."""


def dead_letter(
    topic: str,
    *,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    came_from: str,
    stage: str,
    error: BaseException,
    attempts: int | None = None,
    flow_version: str = "",
    at: float | None = None,
) -> Out:
    """The record of one dead letter: key, value and headers as they were, to the byte.

    ``came_from``: ``topic/partition/offset`` of the record that was read (of a source: its
    stream). ``stage``: ``publish``, ``route`` or ``deliver``. ``attempts``: deliveries that
    failed; what the record says by default. ``at``: seconds since the epoch; now by default.

    Added headers: those of DEATH (``tl_traceback`` is the whole chain of causes, its last 8,000
    bytes), ``tl_attempt``, and ``tl_first_failed_at`` unless the record has it already.
    """
    named = dict(headers)
    now = iso(time.time() if at is None else at).encode()
    added = {
        "tl_dead_from": came_from.encode(),
        "tl_dead_at": now,
        "tl_stage": stage.encode(),
        "tl_error_class": type(error).__name__.encode(),
        "tl_error": _cut(str(error)),
        "tl_attempt": _attempts(attempts, named.get("tl_attempt")),
        "tl_first_failed_at": named.get("tl_first_failed_at") or now,
        "tl_flow_version": flow_version.encode(),
        "tl_traceback": _cut("".join(traceback.format_exception(error))),
    }
    return topic, key, value, replaced(headers, added)


def _attempts(given: int | None, before: bytes | None) -> bytes:
    return (before or b"0") if given is None else str(given).encode()


def _cut(text: str) -> bytes:
    """At most 8,000 bytes of UTF-8, keeping the end, where a traceback says what happened."""
    end = text.encode(errors="replace")[-LONGEST:]
    return end.decode(errors="ignore").encode()  # a character that was cut in two goes whole
