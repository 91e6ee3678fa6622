"""What becomes of a webhook's request: it is checked, made records, and confirmed."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from aiohttp import web

from trunkline.connectors.base import Finding, Publish, PushSource
from trunkline.connectors.content_coding import TooLarge, UnknownCoding, unpacked
from trunkline.connectors.json_values import pointed
from trunkline.connectors.reaching import taken
from trunkline.connectors.webhook.listener import Listener, answered, refusal
from trunkline.errors import ConfigurationError, DataError, SourceError
from trunkline.event import Record, join_key
from trunkline.params import Secret, revealed

log = logging.getLogger(__name__)

Body = dict[str, Any]

ID_HEADERS = ("Idempotency-Key", "webhook-id")
"""Headers that hold a message's id if ``id`` names none (the second: Standard Webhooks)."""
TRACEPARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
RETRY_AFTER = 5
"""Seconds after which a caller may try again when Kafka could not take its message."""


class WebhookSource(PushSource):
    """Publishes the JSON bodies of POST requests: an object, or an array of objects.

    ``host``, ``port``, ``path``: where it listens; port 0 takes a free one, ``.port`` tells which.
    ``key``: the field that holds the entity's key, a JSON pointer (``/order/id``, RFC 6901), or a
    function of the body. ``id``: the header or, as a pointer, the field that holds an id which is
    the same when the caller sends again; by default the header ``Idempotency-Key`` or
    ``webhook-id``. A call without one is an event of its own: equal bodies may be two payments.
    ``secret``: callers sign the body, ``<signature_header>: sha256=<hex of HMAC-SHA256>``, as
    GitHub does. ``token``: callers send ``Authorization: Bearer <token>``. ``max_body``: bytes.
    ``stream``: the records' stream. ``refuse``: a call of which the flow cannot read something is
    answered 422 with the reason, and nothing of it is published; else that is a dead letter.

    Answers 202 only when Kafka has all records of the request; 401 wrong signature or token,
    400 no JSON, 413 too large, 415 packed otherwise than by gzip or deflate, 422 no key, 503 with
    Retry-After when Kafka cannot take them: then the caller sends again, and the records have the
    same ids. Raises ConfigurationError without
    any of ``secret`` and ``token`` unless it listens on this machine only.
    """

    def __init__(
        self,
        *,
        port: int,
        key: str | Callable[[Body], str],
        host: str = "127.0.0.1",
        path: str = "/",
        id: str | None = None,
        secret: Secret | str | None = None,
        signature_header: str = "X-Hub-Signature-256",
        token: Secret | str | None = None,
        max_body: int = 1_000_000,
        stream: str = "webhook",
        refuse: bool = False,
    ) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
            raise ConfigurationError(f"WebhookSource: port={port!r} is no port: 1 to 65535")
        if not path.startswith("/"):
            raise ConfigurationError(f"WebhookSource: path={path!r} must begin with /")
        if isinstance(max_body, bool) or not isinstance(max_body, int) or max_body < 1:
            raise ConfigurationError(f"WebhookSource: max_body={max_body!r}: bytes, from 1 on")
        self.host, self.port, self.path, self.stream = host, port, path, stream
        self._key = key if callable(key) else pointed(key)
        self._id = id
        self.refuses = refuse
        self._secret = _given("secret", secret)
        self._signature_header = signature_header
        self._token = _given("token", token, prefix="Bearer ")
        self._max_body = max_body
        self._publish: Publish | None = None
        self._listener: Listener | None = None
        _check_address(port, path)
        if not (self._secret or self._token) and host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigurationError(
                f"WebhookSource on {host} is open to everybody: give it a secret= or a token="
            )

    def streams(self) -> Sequence[str]:
        """See ``Source.streams``: the one of ``stream=``."""
        return (self.stream,)

    def check(self) -> list[Finding]:
        """See ``PushSource.check``: whether its port is free, or has a worker of ours already."""
        if not self.port or not (why := taken(self.host, self.port)):
            return []
        what = f"nothing can listen at {self.host}:{self.port}: {why}"
        mend = "fine if a worker of this flow runs here; else stop who has it, or change port="
        return [Finding(what, mend, warning=True)]

    async def start(self, publish: Publish) -> None:
        """Listen. Raises SourceError if the port cannot be had: another flow listens there, or
        another source of this flow on the same path."""
        self._publish = publish
        listener = Listener.at(self.host, self.port)
        owner = self.owner or f"process {os.getpid()}"
        await listener.join(self.path, self._accept, max_body=self._max_body, owner=owner)
        self._listener, self.port = listener, listener.port
        log.info("webhook: %s:%d takes calls to %s", self.host, self.port, self.path)

    async def stop(self) -> None:
        """Accept nothing more, answer what was accepted (up to a minute), release the port."""
        if self._listener is not None:
            await self._listener.leave(self.path)
            self._listener = None

    async def _accept(self, request: web.BaseRequest, body: bytes) -> web.Response:
        content, problem = self._content(request, body)
        if not self._is_allowed(request, {body, content}):
            return refusal(401, "the signature or token is missing or wrong")
        if problem is not None:
            return problem
        try:
            bodies = _bodies(content)
        except ValueError as error:
            return refusal(400, str(error))
        try:
            records = [self._record(request, one, n, len(bodies)) for n, one in enumerate(bodies)]
        except (LookupError, TypeError, ValueError) as error:  # the last two: of a key function
            return refusal(422, str(error))
        return await self._published(records)

    async def _published(self, records: list[Record]) -> web.Response:
        assert self._publish is not None
        try:
            await self._publish(records)
        except DataError as error:
            return refusal(422, str(error))
        except SourceError as error:  # an operator has paused it
            log.warning("webhook: %d records were not published: %s", len(records), error)
        except Exception:  # whatever it is, the caller keeps its message and sends it again
            log.exception("webhook: %d records were not published", len(records))
        else:
            return answered({"accepted": len(records)}, 202)
        again = {"Retry-After": str(RETRY_AFTER)}
        return refusal(503, "not taken: send it again", headers=again)

    def _content(self, request: web.BaseRequest, body: bytes) -> tuple[bytes, web.Response | None]:
        """The body unpacked; or the answer to one that cannot be."""
        try:
            coding = request.headers.get("Content-Encoding", "")
            return unpacked(body, coding, self._max_body), None
        except UnknownCoding as error:
            return body, refusal(415, str(error), {"Accept-Encoding": "gzip, deflate"})
        except TooLarge as error:
            return body, refusal(413, str(error))
        except ValueError as error:
            return body, refusal(400, str(error))

    def _is_allowed(self, request: web.BaseRequest, forms: set[bytes]) -> bool:
        """Whether the request passes every check that is configured. ``forms``: the body as it was
        sent, and unpacked: callers sign the one or the other.

        All of them are made, by ``compare_digest``: how long the answer takes tells nobody how much
        of a guess was right.
        """
        allowed = True
        if self._secret is not None:
            given = _header(request, self._signature_header).removeprefix(b"sha256=")
            rights = [hmac.new(self._secret, f, hashlib.sha256).hexdigest().encode() for f in forms]
            allowed &= sum(hmac.compare_digest(given, right) for right in rights) > 0
        if self._token is not None:
            allowed &= hmac.compare_digest(_header(request, "Authorization"), self._token)
        return allowed

    def _record(self, request: web.BaseRequest, body: Body, number: int, count: int) -> Record:
        key = _text(self._key(body), "the key")
        id_ = self._id_of(request, body, number, count)
        record = Record(key=key, data=body, stream=self.stream, id=id_)
        if TRACEPARENT.fullmatch(trace := request.headers.get("traceparent", "")):
            record.traceparent = trace
        return record

    def _id_of(self, request: web.BaseRequest, body: Body, number: int, count: int) -> str:
        if self._id is not None and self._id.startswith("/"):
            return _text(pointed(self._id)(body), "the id")
        names = ID_HEADERS if self._id is None else (self._id,)
        found = next(filter(None, (_header(request, name) for name in names)), b"")
        if not found and self._id is not None:
            raise LookupError(f"the header {self._id} is missing: it holds the message's id")
        if not found:
            # Two equal bodies may be two payments, and nobody can tell: a caller that sends again
            # after a lost answer must say so by an id.
            return str(uuid.uuid4())
        id_ = found.decode(errors="backslashreplace")
        # The header names the request, and each of its records needs an id of its own: one that
        # no other request's header can spell, as "7-1" could.
        return join_key([id_, str(number)] if count > 1 else [id_])


def _check_address(port: int, path: str) -> None:
    if not 0 <= port <= 65_535:
        raise ConfigurationError(f"WebhookSource: {port} is no port: they go from 1 to 65535")
    if not path.startswith("/"):
        raise ConfigurationError(f"WebhookSource: path={path!r} must begin with /")


def _given(name: str, value: Secret | str | None, prefix: str = "") -> bytes | None:
    if value is None:
        return None
    if not revealed(value):
        raise ConfigurationError(f"WebhookSource: {name}= is empty: it would let everybody in")
    return (prefix + revealed(value)).encode()


def _bodies(body: bytes) -> list[Body]:
    """The objects of a request. Raises ValueError."""
    try:
        value = _loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    bodies = value if isinstance(value, list) else [value]
    if not bodies or not all(isinstance(one, dict) for one in bodies):
        raise ValueError("the body must be a JSON object, or an array of objects")
    return bodies


def _loads(body: bytes) -> Any:
    """A JSON text with its whole numbers exact.

    orjson makes floats of those beyond 64 bits: two orders whose numbers have 20 digits then had
    one key and one id, and the second was dropped as a repeat. Python's own parser keeps them, for
    ten times the time, so it is asked only where so many digits stand in a row.
    """
    if not _LONG_NUMBER.search(body):
        return orjson.loads(body)
    orjson.loads(body)  # stricter about what is JSON: encoding, nesting, no NaN
    return json.loads(body)


def _text(value: Any, what: str) -> str:
    """A key or id as text. Raises LookupError for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise LookupError(f"{what} must be text or a number, not {value!r}"[:200])
    if isinstance(value, float) and abs(value) >= 2**53:  # its neighbours read as the same float
        raise LookupError(f"{what} is a number that no float holds exactly: send it as text")
    return str(value)


def _header(request: web.BaseRequest, name: str) -> bytes:
    """The header's bytes as they came, which need not be UTF-8."""
    return request.headers.get(name, "").encode(errors="surrogateescape")
