"""Making a dead letter: the raw bytes of what could not be processed, with where, why and when."""

from __future__ import annotations

import json
import time
import traceback

from trunkline.errors import DeliveryError, RuleViolations
from trunkline.event import Headers, replaced
from trunkline.headers import (
    TL_ATTEMPT,
    TL_CAUSE,
    TL_DEAD_AT,
    TL_DEAD_FROM,
    TL_ERROR,
    TL_ERROR_CLASS,
    TL_FIRST_FAILED_AT,
    TL_FLOW_VERSION,
    TL_PERSONAL,
    TL_STAGE,
    TL_TRACEBACK,
    TL_VIOLATIONS,
)
from trunkline.kafka import ProducerRecord
from trunkline.masking import MAX_MASKED, without_secrets
from trunkline.times import iso

MAX_TEXT_BYTES = 8_000
"""Bytes of an error's message, and of its traceback, that a dead letter carries."""

DEAD_LETTER_HEADERS = frozenset(
    (
        TL_DEAD_FROM,
        TL_DEAD_AT,
        TL_STAGE,
        TL_ERROR_CLASS,
        TL_ERROR,
        TL_CAUSE,
        TL_TRACEBACK,
        TL_FLOW_VERSION,
        TL_VIOLATIONS,
        TL_PERSONAL,
    )
)
"""Headers that only dead letters have: what is sent again goes without them."""


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
) -> ProducerRecord:
    """The record of one dead letter: key, value and headers as they were, to the byte.

    - ``came_from``: ``topic/partition/offset`` of the record that was read; of a source, its
      stream.
    - ``stage``: ``publish``, ``route`` or ``deliver``.
    - ``attempts``: deliveries that failed; by default as many as the record's header says.
    - ``at``: when it died, in seconds since the epoch; by default now.

    Its headers are those of the record and DEAD_LETTER_HEADERS (``tl_traceback`` is the end of the
    whole chain of exceptions), ``tl_attempt``, and ``tl_first_failed_at`` unless the record has it.
    ``tl_violations`` is there for RuleViolations only, ``tl_cause`` where the error tells it.
    """
    named = dict(headers)
    now = iso(time.time() if at is None else at).encode()
    added = {
        TL_DEAD_FROM: came_from.encode(),
        TL_DEAD_AT: now,
        TL_STAGE: stage.encode(),
        TL_ERROR_CLASS: type(error).__name__.encode(),
        TL_ERROR: _cut(without_secrets(str(error))),
        TL_ATTEMPT: _attempts(attempts, named.get(TL_ATTEMPT)),
        TL_FIRST_FAILED_AT: named.get(TL_FIRST_FAILED_AT) or now,
        TL_FLOW_VERSION: flow_version.encode(),
        TL_TRACEBACK: _cut(without_secrets(_traceback(error))),
    }
    if cause := _cause(error):
        added[TL_CAUSE] = cause
    if isinstance(error, RuleViolations):
        added[TL_VIOLATIONS] = _violations(error)
    for name in (TL_CAUSE, TL_VIOLATIONS):
        if name in named and name not in added:  # of somebody who wrote it into his own record
            headers = [header for header in headers if header[0] != name]
    return ProducerRecord(topic, key, value, replaced(headers, added))


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception as defect:  # noqa: BLE001 - an exception of somebody's may refuse to be shown
        return f"{type(error).__name__} has a traceback that cannot be shown: {defect!r}"


def _cause(error: BaseException) -> bytes:
    """What the error says that it has in common with others, or nothing."""
    cause = error.cause if isinstance(error, DeliveryError | RuleViolations) else ""
    return without_secrets(str(cause))[:MAX_MASKED].encode(errors="replace")


def _violations(error: RuleViolations) -> bytes:
    """As a JSON list of objects with rule, field and message: as many as there is room for."""
    told: list[str] = []
    size = 2
    for one in error.violations:
        text = json.dumps(one._asdict(), ensure_ascii=False)
        size += len(text.encode(errors="replace")) + 2
        if size > MAX_TEXT_BYTES:
            break
        told.append(text)
    return f"[{', '.join(told)}]".encode(errors="replace")


def _attempts(given: int | None, before: bytes | None) -> bytes:
    return (before or b"0") if given is None else str(given).encode()


def _cut(text: str) -> bytes:
    """The last MAX_TEXT_BYTES bytes of a text, as UTF-8."""
    # The end, since a traceback says there what happened; and bounded, since Kafka refuses a record
    # of more than 1 MB, and a dead letter that cannot be written holds its partition.
    end = text.encode(errors="replace")[-MAX_TEXT_BYTES:]
    return end.decode(errors="ignore").encode()  # a character that was cut in two goes whole
