"""HttpSink: one request an event, or for a batch of them, to any HTTP API.

aiohttp's client, as it costs a third of the CPU that httpx takes for a request.
"""

from __future__ import annotations

import ssl as tls
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from trunkline.connectors.base import CallLimits, Finding, HttpReply, HttpRequest, Sink
from trunkline.connectors.http.answers import code_of, failure
from trunkline.connectors.http.client import Exchange, exchange, new_session
from trunkline.connectors.http.credentials import authorization, secrets_among
from trunkline.connectors.http.deadline import Deadline
from trunkline.connectors.http.judging import Judge, apply, read_answer, whole_body
from trunkline.connectors.http.oauth import ClientCredentials, TokenSource
from trunkline.connectors.http.requests import BatchForm, EventHeaders, Request, RequestFactory
from trunkline.connectors.reaching import unreachable_url
from trunkline.errors import (
    AddressError,
    ConfigurationError,
    DeliveryError,
    PartialFailure,
    Rejected,
    Unavailable,
)
from trunkline.event import Event
from trunkline.masking import MAX_SECRET, concealed
from trunkline.params import Secret, revealed

T = TypeVar("T")

SHOWN = 500
"""How many characters of an answer stand in the error: enough to see why."""
PATIENCE = 1.0
"""Seconds for the body of an answer that says 2xx."""
DRAINED = 65_536
"""How much of an answer is read so that its connection can be used again."""
UNAUTHORIZED = 401
OF_ITEMS = frozenset({400, 413, 422})
"""Refusals of a batch that one of its events may be the reason for."""


class HttpSink(Sink[T]):
    """Sends events as JSON requests to an HTTP API, one an event or many in one.

    ``url``: the API's address. ``path``: what follows it, beginning with / or ?: a template such
    as ``/orders/{key}`` over the event's key and its data's fields (percent-encoded), or a
    function of the event that returns an encoded path. ``token`` goes out as
    ``Authorization: Bearer``, ``auth`` as Basic; ``oauth`` has a token renewed.
    ``event_headers``: headers of each event: templates as in a path, or a function of the event.
    ``delete_method``: the method for events without data; None: the destination takes no deletes.
    ``batch``: several events in one request, as a JSON ``array`` or as JSON ``lines``, at most
    ``max_batch``. ``judge``: sees a 2xx answer's body and says what it means, also of each event of
    a batch. ``timeout``: seconds for one request, all in all. ``appends``: whether the API keeps
    each event, as a log does, instead of the newest one of a key. ``tls_context``: for a private CA
    or client certificates; a sound one is the default.

    The body is the event's data (``connectors/json_values.py`` has the forms); a delete has none.
    Each request carries ``event.idempotency_key`` in ``idempotency_header`` (of a batch, a hash of
    them) and the event's ``traceparent``. At-least-once: the API tells repeats by that key. What
    each status means to the engine: ``connectors/http/answers.py``; connect errors, timeouts and
    broken connections are Unavailable. Raises ConfigurationError for arguments that cannot work.
    """

    keeps_timeout = True
    takes_calls = HttpRequest

    def __init__(
        self,
        url: str,
        type: type[T],
        *,
        method: str = "POST",
        path: str | Callable[[Event[T]], str] = "",
        token: Secret | str | None = None,
        auth: tuple[str, Secret | str] | None = None,
        oauth: ClientCredentials | None = None,
        headers: Mapping[str, Secret | str] | None = None,
        event_headers: EventHeaders | None = None,
        idempotency_header: str = "Idempotency-Key",
        delete_method: str | None = None,
        batch: BatchForm | None = None,
        max_batch: int = 100,
        judge: Judge | None = None,
        timeout: float = 10.0,
        concurrency: int = 64,
        appends: bool = False,
        tls_context: tls.SSLContext | None = None,
    ) -> None:
        self.type = type
        self.appends = appends
        self.concurrency = concurrency
        self.accepts_deletes = delete_method is not None
        self.max_batch = max_batch if batch else 1
        self._batch = batch
        self._url = _checked(url)
        self._requests = RequestFactory(
            self._url,
            type,
            method=method,
            path=path,
            delete_method=delete_method,
            idempotency_header=idempotency_header,
            event_headers=event_headers,
            batch=batch,
        )
        self._judge = judge
        fixed = {
            "User-Agent": "trunkline",
            "Accept-Encoding": "identity",
            **(headers or {}),
            **authorization(token, auth, oauth),
        }
        self._headers = {name: revealed(value) for name, value in fixed.items()}
        self._hidden = secrets_among(token, auth, headers)
        self._tokens = None if oauth is None else TokenSource(oauth)
        self._set_timeout(timeout)
        self._patience = Deadline(PATIENCE)
        self._tls = tls_context
        self._session: aiohttp.ClientSession | None = None

    def _set_timeout(self, seconds: float) -> None:
        self._timeout = seconds
        self._deadline = Deadline(seconds)

    def configure(self, limits: CallLimits) -> None:
        """Take over ``timeout``, of each request; ``batch`` where several events go in one; and
        ``concurrent`` where it is more than ``concurrency``."""
        if limits.timeout is not None:
            self._set_timeout(limits.timeout)
        if self._batch is not None and limits.batch is not None:
            self.max_batch = limits.batch
        if limits.concurrent is not None:
            self.concurrency = max(self.concurrency, limits.concurrent)
        if self._batch is None and ((limits.batch or 1) > 1 or limits.linger):
            raise ConfigurationError(
                "batch= and linger= are for several events in one request: give the HttpSink "
                "batch='array' or batch='lines' if the API takes that, else leave them out"
            )
        super().configure(limits)

    async def open(self) -> None:
        """Make the session; the first request connects."""
        self._session = new_session(
            connections=self.concurrency, tls=self._tls or True, headers=self._headers
        )
        if self._tokens is not None:
            await self._tokens.open(self._tls)

    def check(self) -> list[Finding]:
        """See ``Sink.check``: a connection, and no request."""
        why = unreachable_url(self._url, self._tls)
        return [Finding(why)] if why else []

    async def close(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._tokens is not None:
            await self._tokens.close()

    async def deliver(self, events: Sequence[Event[T]]) -> None:
        """Send the event, or the batch. Raises Rejected, Retryable or Unavailable as the answer
        tells, and PartialFailure where it tells them apart."""
        if self._batch is None:
            (event,) = events
            await self._send(self._requests.of_event(event), 1)
            return
        failures: dict[int, DeliveryError] = {}
        items: dict[int, tuple[Event[T], bytes]] = {}
        for index, event in enumerate(events):
            try:
                items[index] = event, self._requests.item(event)
            except Rejected as error:
                failures[index] = error
        if items:
            failures |= await self._send_batch(items)
        if failures:
            raise failures[0] if len(events) == 1 else PartialFailure(failures)

    async def call(self, request: HttpRequest, id: str, traceparent: str = "") -> HttpReply:
        """One request for an operation, ``id`` in ``idempotency_header``; the same deadline,
        credentials and meaning of each status as in ``deliver``."""
        reply: list[HttpReply] = []
        await self._send(self._requests.of_call(request, id, traceparent), 1, reply)
        # None: the status line said 2xx, and then the answer broke off. It is done all the same.
        return reply[0] if reply else HttpReply(200, b"")

    async def _send_batch(
        self, items: Mapping[int, tuple[Event[T], bytes]]
    ) -> dict[int, DeliveryError]:
        """Send a batch; ``items`` and the errors of what failed are by index.

        A refusal that one event may be the reason for is halved, until it is that event's alone:
        of a batch of 100 some 14 requests find it. Any other error is the whole batch's.
        """
        indices = list(items)
        request = self._requests.of_batch(list(items.values()))
        try:
            await self._send(request, len(items))
        except PartialFailure as partial:
            return {indices[place]: error for place, error in partial.failures.items()}
        except DeliveryError as error:
            if len(items) == 1 or error.status not in OF_ITEMS or not isinstance(error, Rejected):
                return dict.fromkeys(indices, error)
            half = len(indices) // 2
            found: dict[int, DeliveryError] = {}
            for part in (indices[:half], indices[half:]):
                found |= await self._send_batch({index: items[index] for index in part})
            return found
        return {}

    async def _send(
        self, request: Request, count: int, reply: list[HttpReply] | None = None
    ) -> None:
        """``reply``: where the answer goes, if somebody wants it."""
        exchange.set(this := Exchange())
        try:
            with self._deadline.kept():
                await self._ask(request, count, reply)
        except TimeoutError as error:
            if not this.is_accepted or self._judge is not None:
                told = f"no answer in {self._timeout:g} s"
                raise Unavailable(
                    f"{request.what}: {told}", cause=f"{request.cause}: {told}"
                ) from error
        except (aiohttp.ClientError, HttpProcessingError) as error:
            if not this.is_accepted or self._judge is not None:
                down = Unavailable(
                    f"{request.what}: {self._masked(_named(error))}",
                    cause=f"{request.cause}: {type(error).__name__}",
                )
                # Of a TCP or TLS connection that was never there. A pooled one that the server has
                # closed is another error: what was written into it may have been read.
                down.unsent = isinstance(error, aiohttp.ClientConnectorError)
                raise down from error
        except ValueError as error:  # a line break in a header, and the like
            bad = Rejected(
                f"{request.what} cannot be sent: {self._masked(str(error))}",
                cause=f"{request.cause} cannot be sent",
            )
            bad.unsent = True
            raise bad from error

    async def _ask(self, request: Request, count: int, reply: list[HttpReply] | None) -> None:
        """Send a request, with a token that may have to be renewed: once, and what is said then
        counts."""
        assert self._session is not None, "deliver before open"
        renewed = self._tokens is None
        while True:
            token = "" if self._tokens is None else await self._token(self._tokens)
            headers = request.headers
            if token:
                headers = {**headers, "Authorization": f"Bearer {token}"}
            # Not "async with": to wait for aiohttp's own end of a request costs each event two more
            # coroutines, and says nothing of the answer.
            response = await self._session.request(
                request.method,
                request.url,
                headers=headers,
                data=request.body,
                allow_redirects=False,
            )
            try:
                if 200 <= response.status < 300:
                    if reply is not None or self._judge is not None:
                        await self._accepted(response, request, count, reply)
                    elif not response.content.at_eof():
                        await self._drain(response)
                    return
                error = await self._refusal(response, request)
            finally:
                response.release()
            if self._tokens is None or response.status != UNAUTHORIZED:
                raise error
            self._tokens.refused(token)
            if renewed:
                raise Unavailable(f"{error} (with a new token)", cause=error.cause, status=401)
            renewed = True

    @staticmethod
    async def _token(tokens: TokenSource) -> str:
        try:
            return await tokens.token()
        except DeliveryError as error:
            error.unsent = True
            raise

    async def _accepted(
        self,
        response: aiohttp.ClientResponse,
        request: Request,
        count: int,
        reply: list[HttpReply] | None,
    ) -> None:
        if self._judge is None and reply is not None:
            reply.append(HttpReply(response.status, await whole_body(response)))
            return
        assert self._judge is not None
        try:
            answer = await read_answer(response)
            apply(self._judge(answer), count, request.what)
        except DeliveryError as error:
            self._conceal(error)
            raise
        if reply is not None:
            reply.append(HttpReply(answer.status, answer.body))

    async def _refusal(self, response: aiohttp.ClientResponse, request: Request) -> DeliveryError:
        answer = await _start_of(response)
        said = answer[: SHOWN + MAX_SECRET].decode(errors="replace")
        shown = self._masked(said)[:SHOWN] or self._masked(str(response.reason))
        status = response.status
        error = failure(
            status,
            f"{request.what} answered {status}: {shown}",
            retry_after=response.headers.get("Retry-After", ""),
            location=self._masked(response.headers.get("Location", "")),
            cause=f"{request.cause} answered {status}: {request.common(shown)}",
        )
        error.code = self._masked(code_of(answer))
        return error

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        """Read the body of an accepted request, so that its connection can be used again.

        Why for a moment only: an API that answers 200 and then drips or streams (server-sent
        events) has accepted the event; waiting for the end held each of them for the whole timeout.
        """
        try:
            with self._patience.kept():
                await _start_of(response)
        except TimeoutError:
            response.close()

    def _masked(self, text: str) -> str:
        return concealed(text, self._secrets())

    def _conceal(self, error: DeliveryError) -> None:
        """Take secrets out of what a flow's ``judge=`` raised: it quotes the answer, and an answer
        may repeat the request."""
        failures = error.failures.values() if isinstance(error, PartialFailure) else ()
        for each in (error, *failures):
            each.args = tuple(self._masked(a) if isinstance(a, str) else a for a in each.args)
            each.cause, each.code = self._masked(each.cause), self._masked(each.code)

    def _secrets(self) -> Iterator[str]:
        yield from self._hidden
        if self._tokens is not None:
            yield from self._tokens.shown


async def _start_of(response: aiohttp.ClientResponse) -> bytes:
    """The answer's first bytes; a longer answer's connection is given up, not read to its end."""
    read = bytearray()
    while chunk := await response.content.readany():
        read += chunk
        if len(read) > DRAINED:
            response.close()
            break
    return bytes(read)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _checked(url: str) -> URL:
    try:
        parsed = URL(url)
        parsed.port  # noqa: B018 - a port out of range is found when it is asked for
    except ValueError:  # its text has parts of the URL, which may hold a secret
        raise AddressError("HttpSink: its URL is none: look at its host and port") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise AddressError("HttpSink: its URL is not an http(s) URL: begin with http://HOST")
    if parsed.user or parsed.password:
        raise AddressError("HttpSink: take user and password out of the URL, use auth=")
    if parsed.raw_query_string or parsed.raw_fragment:
        raise AddressError("HttpSink: put a query into path=, url= is followed by the path")
    return parsed
