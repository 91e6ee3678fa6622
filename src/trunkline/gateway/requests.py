"""What a request says, read within limits: its key, its preferences, its body."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import Problem
from trunkline.schemas.plain.parse import NotJson, parse
from trunkline.schemas.plain.read import FieldError
from trunkline.streams.flow.operation import MAX_WAIT

T = TypeVar("T")
DISCARDED = 4_194_304
"""Bytes of a body that is too large which are read and dropped."""
LARGE = 32_768
"""Bytes of a body that is read out of the event loop."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)
_CHARSET = re.compile(r"(?:^|;)\s*charset\s*=\s*\"?([^\s\";]*)")
_UTF8 = ("utf-8", "utf8", "us-ascii")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gateway takes. ``head``, ``body``: bytes; ``body_seconds``: until a body is there;
    ``waiting``: requests at a time; ``connections``: at a time; ``head_seconds``: until the head of
    a request is there; ``write_seconds``: that a caller may leave an answer unread; ``reading``:
    bodies that are read at a time. One more ends the oldest of them, which is a slow one: so those
    who never finish leave room for those who do, and what is read of bodies has its bound."""

    head: int = 16_384
    body: int = 1_048_576
    body_seconds: float = 10.0
    waiting: int = 2_000
    connections: int = 10_000
    head_seconds: float = 10.0
    write_seconds: float = 30.0
    reading: int = 250
    under_way: dict[int, asyncio.Timeout] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Preferences:
    """The ``Prefer`` header (RFC 7240). ``wait``: seconds, None for the operation's own."""

    respond_async: bool = False
    wait: float | None = None


def preferences(request: Request) -> Preferences:
    """What is preferred; preferences that are not known are ignored, as the RFC has it. Raises
    Problem for a ``wait`` beyond what is allowed."""
    parts = [part.strip() for part in ",".join(request.headers.getlist("prefer")).split(",")]
    wait = next((found for part in parts if (found := _WAIT.fullmatch(part))), None)
    if wait is not None and int(wait[1]) > MAX_WAIT:
        raise Problem("preference-wrong", f"wait={wait[1]}: at most {MAX_WAIT:.0f} seconds")
    respond_async = any(part.lower() == "respond-async" for part in parts)
    return Preferences(respond_async, None if wait is None else float(wait[1]))


def idempotency_key(request: Request, offered: Offered) -> str:
    """The key of a call; a random one where there is none and the operation needs none. Raises
    Problem."""
    given = request.headers.getlist("idempotency-key")
    if not given or offered.is_query:
        if offered.needs_key:
            raise Problem(
                "idempotency-key-missing",
                f"a call of verb {offered.policy.verb!r} that is repeated could be run twice: send "
                "the header Idempotency-Key, the same one when you repeat it",
            )
        return str(uuid.uuid4())
    key = given[0].removeprefix('"').removesuffix('"') if len(given[0]) > 1 else given[0]
    if len(given) > 1 or not _KEY.fullmatch(key):
        raise Problem(
            "idempotency-key-wrong", "send one of up to 255 visible ASCII characters, as a UUID"
        )
    return key


def validates_only(request: Request) -> bool:
    """Whether the request is to be shown and not made. Raises Problem for what says neither."""
    said = request.query_params.get("validate_only", "false")
    if said not in ("true", "false"):
        raise Problem("not-acceptable", "validate_only is true or false")
    return said == "true"


def traceparent(request: Request) -> str:
    """The W3C trace context of the caller, "" for none, and for what is none."""
    given = request.headers.get("traceparent", "")
    return given if _TRACE.fullmatch(given) else ""


async def body_of(
    request: Request, limits: Limits, media_types: tuple[str, ...] = ("application/json",)
) -> bytes:
    """The body. Raises Problem for one that is too large, before it is read where its length is
    told; too slow; or of another type than JSON."""
    said, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    media = said.strip()
    if media not in media_types:
        raise Problem("not-json-type", f"it is {media[:100]!r}" if media else "it says no type")
    charset = _CHARSET.search(parameters)
    if charset is not None and charset[1] not in _UTF8:
        # What is read as UTF-8 all the same could be other characters than were meant.
        raise Problem("not-json-type", f"its charset is {charset[1][:100]!r}: JSON is UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("not-json-type", "send it without Content-Encoding")
    told = request.headers.get("content-length", "0")
    if told.isdecimal() and int(told) > limits.body:
        await _discard(request.stream())
        raise _too_large(limits)
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(limits.body_seconds) as deadline:
            with _among_others(limits, deadline):
                return await _read(request, limits)
    except TimeoutError:
        message = f"it was not there after {asyncio.get_running_loop().time() - began:.1f} s"
        # The connection is not closed with it: that would be a reset, in which the answer is lost.
        # Whoever drips on is ended by the time that the head of a next request has.
        raise Problem("body-too-slow", message) from None
    except ClientDisconnect:
        raise Problem("body-too-slow", "the caller has gone") from None


async def optional_json(request: Request, limits: Limits) -> Any:
    """The JSON of a body that need not be there; None: it is not. Raises Problem as ``body_of``."""
    if request.headers.get("content-length", "") in ("", "0") and not request.headers.get(
        "transfer-encoding"
    ):
        return None
    return json_of(await body_of(request, limits))


def json_of(body: bytes) -> Any:
    """What a body says. Raises Problem for what is no JSON."""
    try:
        return parse(body)
    except NotJson as error:
        line, column = error.line or None, error.column or None
        raise Problem("not-json", str(error), line=line, column=column) from None


class BodyReader:
    """Makes requests of bodies, large ones in a thread of its own, one after the other.

    A megabyte of small values takes seconds of a CPU. In the event loop nobody else would be
    answered meanwhile; several threads would share its time among themselves and leave it little.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gateway-body")

    async def request(
        self, body: bytes, offered: Offered, said: Mapping[str, Any] | None = None
    ) -> Any:
        """The request of an operation that a body is, with what its URL has ``said``. Raises
        Problem for one that is no JSON, and for one that is not acceptable, with all that is
        wrong."""
        return await self.run(len(body), _request, body, offered, said)

    async def run(self, size: int, function: Callable[..., T], *given: Any) -> T:
        """What a function makes of a body of so many bytes; raises what it raises."""
        if size <= LARGE:
            return function(*given)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *given)


def _request(body: bytes, offered: Offered, said: Mapping[str, Any] | None) -> Any:
    given = json_of(body) if body or said is None else {}
    twice = []
    if said and isinstance(given, dict):
        twice = [name for name in said if name in given and given[name] != said[name]]
        given = {**given, **said}
    value, errors = offered.read(given)
    errors += [FieldError(f"#/{name}", "is another one in the URL") for name in twice]
    if errors:
        several = "1 field is" if len(errors) == 1 else f"{len(errors)} fields are"
        raise Problem("not-acceptable", f"{several} not acceptable", errors=errors)
    return value


@contextmanager
def _among_others(limits: Limits, deadline: asyncio.Timeout) -> Iterator[None]:
    """A body is read; the oldest that is ends where that is one too many."""
    under_way = limits.under_way
    if len(under_way) >= limits.reading:
        oldest = under_way.pop(next(iter(under_way)))
        if not oldest.expired():
            oldest.reschedule(asyncio.get_running_loop().time())
    under_way[id(deadline)] = deadline
    try:
        yield
    finally:
        under_way.pop(id(deadline), None)


async def _read(request: Request, limits: Limits) -> bytes:
    body, stream = bytearray(), request.stream()
    async for chunk in stream:
        body += chunk
        if len(body) > limits.body:
            await _discard(stream)
            raise _too_large(limits)
    return bytes(body)


async def _discard(stream: AsyncIterator[bytes]) -> None:
    """Read on for a moment: a connection that is closed while its caller still sends is reset, and
    the caller never sees why."""
    left = DISCARDED
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(1.0):
            async for chunk in stream:
                left -= len(chunk)
                if left < 0:
                    return


def _too_large(limits: Limits) -> Problem:
    return Problem("body-too-large", f"at most {limits.body} bytes")
