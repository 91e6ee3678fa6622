"""The W3C trace context of a header, ``00-<trace id>-<span id>-<flags>``, read without a parser:
the flag is looked at for each event."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trunkline.event import Headers
from trunkline.headers import TRACEPARENT

_FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_ODD = b"13579bdf"
_LENGTH = 55
_USUAL_PLACE = 6
"""Where ``event_headers`` puts it; whoever else wrote a record may put it anywhere."""


def traceparent_of(headers: Headers) -> bytes:
    """The header, or b"" for none."""
    if len(headers) > _USUAL_PLACE and headers[_USUAL_PLACE][0] == TRACEPARENT:
        return headers[_USUAL_PLACE][1] or b""
    for name, value in headers:
        if name == TRACEPARENT:
            return value or b""
    return b""


def is_sampled(traceparent: bytes) -> bool:
    """Whether its flag says that the trace is recorded: its last bit, so an odd digit. What has
    another length is none, and handed on as it is."""
    return len(traceparent) == _LENGTH and traceparent[-1] in _ODD


def sampled_parent(headers: Headers) -> bytes:
    """The header if its trace is recorded, b"" otherwise: ``traceparent_of`` and ``is_sampled`` in
    one, as what most events have, an unsampled one in its usual place, must cost them nothing."""
    if len(headers) > _USUAL_PLACE:
        name, value = headers[_USUAL_PLACE]
        if name == TRACEPARENT and value and value[-1] not in _ODD:
            return b""
    value = traceparent_of(headers)
    return value if is_sampled(value) else b""


def ids_of(traceparent: bytes) -> tuple[int, int] | None:
    """Trace and span, None for what is no context."""
    found = _FORM.fullmatch(traceparent)
    if found is None:
        return None
    trace, span = int(found[1], 16), int(found[2], 16)
    return (trace, span) if trace and span else None


def with_traceparent(headers: Sequence[tuple[str, Any]], new: bytes) -> list[tuple[str, Any]]:
    """The headers with this one in the place of any there was: there is never a second one."""
    made = [header for header in headers if header[0] != TRACEPARENT]
    made.insert(min(_USUAL_PLACE, len(made)), (TRACEPARENT, new))
    return made
