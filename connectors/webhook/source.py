"""What becomes of a webhook's request: it is checked, made records, and confirmed."""

from __future__ import annotations

import hmac
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from aiohttp import web

from trunkline.connectors.base import Finding, Publish, PushSource
from trunkline.connectors.content_coding import TooLarge, UnknownCoding, unpacked
from trunkline.connectors.json_values import pointed
from trunkline.connectors.reaching import taken
from trunkline.connectors.webhook.bodies import Body, BodyFormat, bodies
from trunkline.connectors.webhook.listener import Listener, answered, refusal
from trunkline.connectors.webhook.replays import TakenMessages
from trunkline.connectors.webhook.signatures import Signature, Signed, Verifier, header_of
from trunkline.errors import ConfigurationError, DataError, SourceError
from trunkline.event import Record, join_key
from trunkline.params import Secret, revealed
from trunkline.times import parse_duration

log = logging.getLogger(__name__)

ID_HEADERS = ("Idempotency-Key", "webhook-id")
"""Headers that hold a message's id if ``id`` names none (the second: Standard Webhooks)."""
TRACEPARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
RETRY_AFTER = 5
"""Seconds after which a caller may try again when Kafka could not take its message."""


class WebhookSource(PushSource):
    """Publishes the JSON bodies of POST requests: an object, or an array of objects.

    ``host``, ``port``, ``path``: where it listens; port 0 takes a free one, ``.port`` tells which.
    ``key``: the field that holds the entity's key, a JSON pointer (``/order/id``, RFC 6901), or a
    function of the body. ``id``: the header or, as a pointer, the field that holds an id which is
    the same when the caller sends again; by default the header ``Idempotency-Key`` or
    ``webhook-id``. A call without one is an event of its own: equal bodies may be two payments.
    ``signature``: how callers sign (``Signature.stripe(…)``, ``shopify``, ``github``, ``slack``,
    ``standard``, or one of yours). ``secret``: they do so as GitHub does,
    ``<signature_header>: sha256=<hex of HMAC-SHA256>``. ``token``: callers send
    ``Authorization: Bearer <token>``. ``body``: "json", or "form" for fields of a form
    (``application/x-www-form-urlencoded``). ``max_body``: bytes. ``stream``: the records' stream.
    ``answer``: the status of what is taken, 200 or 202. ``remember``: for how long a message that
    this process has taken is known: sent again, it is confirmed and not published once more; by
    default twice the tolerance of a ``signature`` with a time, "0s" else. ``refuse``: a call of
    which the flow cannot read something is answered 422 with the reason, and nothing of it is
    published; else that is a dead letter.

    Answers ``answer`` only when Kafka has all records of the request; 401 wrong signature or token,
    or a signed time that is too far off, 400 no JSON, or no form, 413 too large, 415 packed
    otherwise than by gzip or deflate, 422 no key, 503 with Retry-After when Kafka cannot take them:
    then the caller sends again, and the records have the same ids. Raises ConfigurationError
    without any of ``signature``, ``secret`` and ``token`` unless it listens on this machine only.
    """

    def __init__(
        self,
        *,
        port: int,
        key: str | Callable[[Body], str],
        host: str = "127.0.0.1",
        path: str = "/",
        id: str | None = None,
        signature: Signature | None = None,
        secret: Secret | str | None = None,
        signature_header: str = "X-Hub-Signature-256",
        token: Secret | str | None = None,
        body: BodyFormat = "json",
        max_body: int = 1_000_000,
        stream: str = "webhook",
        answer: Literal[200, 202] = 202,
        remember: str | None = None,
        refuse: bool = False,
    ) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
            raise ConfigurationError(f"WebhookSource: port={port!r} is no port: 1 to 65535")
        if not path.startswith("/"):
            raise ConfigurationError(f"WebhookSource: path={path!r} must begin with /")
        if isinstance(max_body, bool) or not isinstance(max_body, int) or max_body < 1:
            raise ConfigurationError(f"WebhookSource: max_body={max_body!r}: bytes, from 1 on")
        if body not in ("json", "form") or answer not in (200, 202):
            raise ConfigurationError('WebhookSource: body= is "json" or "form", answer= 200 or 202')
        if signature is not None and secret is not None:
            raise ConfigurationError("WebhookSource: give one of signature= and secret=")
        self.host, self.port, self.path, self.stream = host, port, path, stream
        self._key = key if callable(key) else pointed(key)
        self.refuses = refuse
        if secret is not None:
            _given("secret", secret)
            signature = Signature(secret=secret, header=signature_header, prefix="sha256=")
        # A caller that sends again signs another time, and the same id.
        usual = (signature.message_id or signature.id_header or None) if signature else None
        self._id = usual if id is None and usual is not None and usual.startswith("/") else id
        self._id_headers = ID_HEADERS if usual is None else (usual, *ID_HEADERS)
        # By an unsigned id an old request could be sent again as a new message.
        self._named_by_signature = signature is not None and signature.has_time and usual is None
        self._challenge = signature.challenge if signature is not None else ""
        self._verifier = None if signature is None else Verifier(signature, time.time)
        self._token = _given("token", token, prefix="Bearer ")
        self._format: BodyFormat = body
        self._max_body, self._answer = max_body, answer
        self._taken = _memory(signature, remember)
        self._publish: Publish | None = None
        self._listener: Listener | None = None
        if not (signature or self._token) and host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigurationError(
                f"WebhookSource on {host} is open to everybody: give it a signature=, a secret= or "
                "a token="
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
        """The answer to a request: who it is of, what it says, and whether it came before."""
        content, problem = self._content(request, body)
        try:
            signed = self._allowed(request, {body, content})
        except DataError as error:
            return refusal(401, str(error))
        if signed is None:
            return refusal(401, "the signature or token is missing or wrong")
        if problem is not None:
            return problem
        try:
            found = bodies(content, self._format)
        except ValueError as error:
            return refusal(400, str(error))
        if (challenge := self._challenged(found)) is not None:
            return answered({"challenge": challenge}, 200)
        try:
            called = self._called(request, signed)
            records = [self._record(request, one) for one in found]
            for number, record in enumerate(records if called else ()):
                # A header names the request, and each of its records needs an id of its own: one
                # that no other request's header can spell, as "7-1" could.
                record.id = join_key([called, str(number)] if len(records) > 1 else [called])
        except (LookupError, TypeError, ValueError) as error:  # the last two: of a key function
            return refusal(422, str(error))
        return await self._taken_once(records)

    async def _taken_once(self, records: list[Record]) -> web.Response:
        """Publish what was not taken before; what was, is confirmed once more."""
        if self._taken is None:
            return await self._published(records)
        name = self._taken.name(record.id for record in records)
        if self._taken.has(name):
            return answered({"accepted": 0, "repeated": len(records)}, self._answer)
        if not self._taken.begin(name):
            return _again("the same message is being taken: send it again")
        taken = False
        try:
            answer = await self._published(records)
            taken = answer.status == self._answer
        finally:
            self._taken.end(name, taken=taken)
        return answer

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
            return answered({"accepted": len(records)}, self._answer)
        return _again("not taken: send it again")

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

    def _allowed(self, request: web.BaseRequest, forms: set[bytes]) -> Signed | None:
        """What the request's signature shows, if it passes every check that is configured; else
        None. ``forms``: the body as it was sent, and unpacked. Raises DataError as ``verify``."""
        allowed = True
        if self._token is not None:
            given = header_of(request.headers, "Authorization")
            allowed = hmac.compare_digest(given, self._token)
        if self._verifier is None:
            return Signed(b"", None, "") if allowed else None
        signed = self._verifier.verify(request.headers, forms)
        return signed if allowed else None

    def _called(self, request: web.BaseRequest, signed: Signed) -> str:
        """What names the request; "" where each of its records has an id of its own: a field, or
        one that nobody else has."""
        if self._id is not None and self._id.startswith("/"):
            return ""
        if self._id is None and self._named_by_signature:
            return signed.digest.hex()[:32]
        names = self._id_headers if self._id is None else (self._id,)
        found = next(filter(None, (header_of(request.headers, name) for name in names)), b"")
        if not found and self._id is not None:
            raise LookupError(f"the header {self._id} is missing: it holds the message's id")
        # Without one: two equal bodies may be two payments, and nobody can tell. A caller that
        # sends again after a lost answer must say so by an id.
        return found.decode(errors="backslashreplace")

    def _challenged(self, found: Sequence[Body]) -> str | None:
        """What a caller wants to hear back before it sends anything, as Slack does when an address
        is entered there; None for a message."""
        if not self._challenge or len(found) != 1 or found[0].get("type") != self._challenge:
            return None
        text = found[0].get("challenge")
        return text if isinstance(text, str) else None

    def _record(self, request: web.BaseRequest, body: Body) -> Record:
        record = Record(key=_text(self._key(body), "the key"), data=body, stream=self.stream)
        if self._id is not None and self._id.startswith("/"):
            record.id = _text(pointed(self._id)(body), "the id")
        if TRACEPARENT.fullmatch(trace := request.headers.get("traceparent", "")):
            record.traceparent = trace
        return record


def _memory(signature: Signature | None, remember: str | None) -> TakenMessages | None:
    seconds = parse_duration(remember or "0s")
    if remember is None and signature is not None and signature.has_time:
        seconds = 2 * parse_duration(signature.tolerance)
    return TakenMessages(seconds, time.monotonic) if seconds else None


def _again(why: str) -> web.Response:
    return refusal(503, why, headers={"Retry-After": str(RETRY_AFTER)})


def _given(name: str, value: Secret | str | None, prefix: str = "") -> bytes | None:
    if value is None:
        return None
    if not revealed(value):
        raise ConfigurationError(f"WebhookSource: {name}= is empty: it would let everybody in")
    return (prefix + revealed(value)).encode()


def _text(value: Any, what: str) -> str:
    """A key or id as text. Raises LookupError for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise LookupError(f"{what} must be text or a number, not {value!r}"[:200])
    if isinstance(value, float) and abs(value) >= 2**53:  # its neighbours read as the same float
        raise LookupError(f"{what} is a number that no float holds exactly: send it as text")
    return str(value)
