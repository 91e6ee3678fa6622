"""A call's state as an HTTP answer."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from trunkline.gateway.problems import Problem
from trunkline.streams.journal.journal import OUR_CREDENTIALS
from trunkline.streams.journal.record import CallRecord, moment_of

CALL = "Trunkline-Call"
REPLAYED = "Idempotent-Replayed"
_AS_IT_IS = {404: 404, 409: 409, 412: 409}
"""What the system says that the caller hears as it is; any other refusal is 422."""


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
    elif call.state == "expired":
        kind = "call-expired"
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


def state(call: CallRecord, system: str) -> Response:
    """The answer to who asks how a call stands."""
    return _json(status_of(call, system), 200, {CALL: call.call})


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
    elif not call.is_over and not call.why:
        found["why"] = "it waits for its turn, or for the system's answer"
    if call.status is not None:
        found["system_status"] = call.status
    if call.is_over and call.state == "succeeded" and call.reply is not None:
        found["reply"] = orjson.Fragment(call.reply)
    return found


def _json(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")
