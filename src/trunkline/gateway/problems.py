"""What a caller is told that goes wrong: problem details (RFC 9457), in one shape everywhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trunkline.schemas.plain.read import FieldError

log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A kind of problem. ``retryable``: whether the same request may succeed later."""

    status: int
    title: str
    retryable: bool = False


KINDS = {
    "not-http": Kind(400, "The request is no HTTP/1.1"),
    "head-too-large": Kind(431, "The head of the request is too large"),
    "not-json": Kind(400, "The body is no JSON"),
    "idempotency-key-missing": Kind(400, "This operation needs an Idempotency-Key"),
    "idempotency-key-wrong": Kind(400, "The Idempotency-Key is none"),
    "preference-wrong": Kind(400, "The Prefer header cannot be obeyed"),
    "unauthorized": Kind(401, "The API key or token is missing or not known"),
    "forbidden": Kind(403, "Your key does not allow this"),
    "not-found": Kind(404, "There is nothing here"),
    "method-not-allowed": Kind(405, "This URL has another method"),
    "body-too-slow": Kind(408, "The body did not arrive in time", True),
    "body-too-large": Kind(413, "The body is too large"),
    "not-json-type": Kind(415, "The body must be application/json"),
    "not-acceptable": Kind(422, "The request is not acceptable"),
    "too-late": Kind(409, "The call cannot be changed any more"),
    "call-cancelled": Kind(409, "The call was cancelled"),
    "idempotency-key-reused": Kind(422, "This Idempotency-Key was used for something else"),
    "rejected-by-system": Kind(422, "The system refused the request"),
    "quota-exceeded": Kind(429, "A limit of your client is reached", True),
    "internal-error": Kind(500, "The gateway has failed", True),
    "system-failed": Kind(502, "The system did not do it"),
    "call-in-doubt": Kind(502, "Whether the system has done it is not known"),
    "system-credentials-rejected": Kind(502, "The system refused the credentials of the flow"),
    "reply-too-large": Kind(502, "The system's answer is too large"),
    "system-unavailable": Kind(503, "The system cannot be asked now", True),
    "temporary-reduced-capacity": Kind(503, "Too much waits for the system", True),
    "busy": Kind(503, "Too many requests wait", True),
    "not-ready": Kind(503, "The gateway is not ready", True),
    "not-written": Kind(503, "The call could not be written", True),
    "system-timeout": Kind(504, "The system has not answered in time", True),
    "call-expired": Kind(504, "The time of the call was over"),
}
"""By the last part of ``type``."""
PROBLEM_JSON = "application/problem+json"


class Problem(Exception):
    """Something that ends a request. ``more``: further members of its body; ``errors``: what is
    wrong with fields; ``headers``: of the answer; ``status``: where it is not its kind's."""

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        status: int | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail or KINDS[kind].title)
        self.kind = kind
        self.detail = detail
        self.status = status or KINDS[kind].status
        self.errors = errors
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        """The answer."""
        kind = KINDS[self.kind]
        body: dict[str, Any] = {
            "type": f"/problems/{self.kind}",
            "title": kind.title,
            "status": self.status,
            **({"detail": self.detail} if self.detail else {}),
            "retryable": kind.retryable,
            **{name: value for name, value in self.more.items() if value is not None},
        }
        if self.errors:
            body["errors"] = [error._asdict() for error in self.errors]
        return Response(
            orjson.dumps(body), self.status, headers=self.headers, media_type=PROBLEM_JSON
        )


def ends_connection(problem: Problem) -> Problem:
    """The problem, after whose answer nothing more of its connection is read."""
    problem.headers["Connection"] = "close"
    return problem


async def _problem(request: Request, problem: Problem) -> Response:
    return problem.response()


async def _http_problem(request: Request, error: HTTPException) -> Response:
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "internal-error")
    return Problem(kind, status=error.status_code, headers=error.headers).response()


async def _defect(request: Request, error: Exception) -> Response:
    log.error("a request failed in an unforeseen way", exc_info=error)
    return Problem("internal-error").response()


HANDLERS: dict[Any, Any] = {Problem: _problem, HTTPException: _http_problem, Exception: _defect}
"""What answers what an endpoint raises."""
