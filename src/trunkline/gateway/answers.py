"""A call's state as an HTTP answer."""

from __future__ import annotations

import math
from typing import Any

import orjson
from starlette.responses import Response

from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import KINDS, Problem
from trunkline.streams.journal.record import CallRecord, moment_of
from trunkline.streams.journal.reply import QueryReply
from trunkline.streams.journal.words import OUR_CREDENTIALS

CALL = "Trunkline-Call"
REPLAYED = "Idempotent-Replayed"
_AS_IT_IS = {404: 404, 409: 409, 412: 409}
"""What the system says that the caller hears as it is; any other refusal is 422."""

_KINDS = {"expired": "call-expired", "cancelled": "call-cancelled", "in_doubt": "call-in-doubt"}


def answer(call: CallRecord, system: str, *, replayed: bool = False) -> Response:
    """The answer of a call that is over. Raises Problem for one that failed."""
    headers = {CALL: call.call, **({REPLAYED: "true"} if replayed else {})}
    if call.state == "succeeded":
        if call.reply is None:
            return Response(status_code=204, headers=headers)
        status = 201 if call.status == 201 else 200
        # The very characters that the system wrote: no number becomes another.
        return Response(call.reply, status, headers=headers, media_type="application/json")
    kind: str = "system-failed"
    heard: int | None = None
    if call.state == "rejected":
        kind, heard = "rejected-by-system", _AS_IT_IS.get(call.status or 0, 422)
    elif call.state in _KINDS:
        kind = _KINDS[call.state]
    elif call.status in OUR_CREDENTIALS:
        kind = "system-credentials-rejected"
    # What the flow's credentials led to is for its operators, who are alerted.
    detail = "" if kind == "system-credentials-rejected" else call.why
    raise Problem(
        kind,
        detail,
        status=heard,
        headers=headers,
        call=call.call,
        system=system,
        system_status=call.status,
        system_code=None if kind == "system-credentials-rejected" else call.code or None,
    )


def queried(reply: QueryReply, offered: Offered) -> Response:
    """The answer of a query. Raises Problem for one that failed."""
    if reply.kind == "done":
        if reply.reply is None:
            return Response(status_code=204)
        return Response(reply.reply, 200, media_type="application/json")
    hidden = reply.kind == "system-credentials-rejected"
    refused = reply.kind == "rejected-by-system"
    headers = {}
    if KINDS[reply.kind].status == 503:
        headers["Retry-After"] = str(max(1, math.ceil(reply.after)))
    raise Problem(
        reply.kind,
        "" if hidden else reply.why,
        status=_AS_IT_IS.get(reply.status or 0, 422) if refused else None,
        headers=headers,
        system=offered.system,
        system_status=reply.status,
        system_code=None if hidden else reply.code or None,
    )


def pending(call: CallRecord, system: str, *, preferred: bool, replayed: bool = False) -> Response:
    """The answer of a call that is not over: 202, where it is told, and what it waits for.
    ``preferred``: the caller wanted no other."""
    headers = {CALL: call.call, "Location": f"/v1/calls/{call.call}"}
    if preferred:
        headers["Preference-Applied"] = "respond-async"
    if replayed:
        headers[REPLAYED] = "true"
    return _json(status_of(call, system), 202, headers)


def state(call: CallRecord, system: str, *, status: int = 200) -> Response:
    """The answer to who asks how a call stands."""
    return _json(status_of(call, system), status, {CALL: call.call})


def status_of(call: CallRecord, system: str) -> dict[str, Any]:
    """A call as its caller may see it."""
    found: dict[str, Any] = {
        "call": call.call,
        "state": call.state,
        "system": system,
        "operation": call.operation,
        "accepted_at": moment_of(call.accepted_at),
        "expires_at": moment_of(call.expires_at),
        "attempt": call.attempt,
    }
    if call.due_at and not call.is_over:
        found["due_at"] = moment_of(call.due_at)
    hidden = call.status in OUR_CREDENTIALS
    if call.why and not hidden:
        found["why"] = call.why
    elif call.state == "needs_approval":
        found["why"] = "somebody must approve it"
    elif not call.is_over and not call.why:
        found["why"] = "it waits for its turn, or for the system's answer"
    if call.status is not None:
        found["system_status"] = call.status
    if call.code and not hidden:
        found["system_code"] = call.code
    if call.is_over and call.state == "succeeded" and call.reply is not None:
        found["reply"] = orjson.Fragment(call.reply)
    return found


def _json(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")
