"""HttpSink: one request an event, to any HTTP API.

aiohttp's client, as it costs a third of the CPU that httpx takes for a request.
"""

from __future__ import annotations

import base64
import ssl as tls
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from trunkline.connectors.base import Sink
from trunkline.connectors.http.answers import failure
from trunkline.connectors.http.client import Exchange, exchange, new_session
from trunkline.connectors.http.deadline import Deadline
from trunkline.connectors.http.paths import PathOf, path_template, require_encoded
from trunkline.connectors.json_values import to_json
from trunkline.errors import ConfigurationError, DataError, Rejected, Unavailable
from trunkline.event import Event
from trunkline.headers import TRACEPARENT
from trunkline.params import Secret, revealed

T = TypeVar("T")

SHOWN = 500
"""How many bytes of an answer stand in the error: enough to see why."""
PATIENCE = 1.0
"""Seconds for the body of an answer that says 2xx."""
DRAINED = 65_536
"""How much of an answer is read so that its connection can be used again."""


class HttpSink(Sink[T]):
    """Sends each event as a JSON request to an HTTP API.

    ``url``: the API's address. ``path``: what follows it, beginning with / or ?: a template such
    as ``/orders/{key}`` over the event's key and its data's fields (percent-encoded), or a
    function of the event that returns an encoded path. ``token`` goes out as
    ``Authorization: Bearer``, ``auth`` as Basic.
    ``delete_method``: the method for events without data; None: the destination takes no deletes.
    ``timeout``: seconds for one request, all in all. ``appends``: whether the API keeps each event,
    as a log does, instead of the newest one of a key. ``tls_context``: for a private CA or client
    certificates; a sound one is the default.

    The body is the event's data (``connectors/json_values.py`` has the forms); a delete has none.
    Each request carries ``event.idempotency_key`` in ``idempotency_header``, and ``traceparent``.
    At-least-once: the API tells repeats by the idempotency key. What each status means to the
    engine: ``connectors/http/answers.py``; connect errors, timeouts and broken connections are
    Unavailable. Raises ConfigurationError for arguments that cannot work.
    """

    def __init__(
        self,
        url: str,
        type: type[T],
        *,
        method: str = "POST",
        path: str | Callable[[Event[T]], str] = "",
        token: Secret | str | None = None,
        auth: tuple[str, Secret | str] | None = None,
        headers: Mapping[str, Secret | str] | None = None,
        idempotency_header: str = "Idempotency-Key",
        delete_method: str | None = None,
        timeout: float = 10.0,
        concurrency: int = 64,
        appends: bool = False,
        tls_context: tls.SSLContext | None = None,
    ) -> None:
        self.type = type
        self.appends = appends
        self.concurrency = concurrency
        self.accepts_deletes = delete_method is not None
        self._url = _checked(url)
        self._method, self._delete_method = method, delete_method
        self._path_is_foreign = callable(path)
        self._path: PathOf = (
            path if callable(path) else path_template(path, type, deletes=self.accepts_deletes)
        )
        fixed = {"User-Agent": "trunkline", **(headers or {}), **_authorization(token, auth)}
        self._headers = {name: revealed(value) for name, value in fixed.items()}
        self._hidden = _hidden(token, auth, headers)
        self._idempotency_header = idempotency_header
        self._timeout = timeout
        self._deadline = Deadline(timeout)
        self._patience = Deadline(PATIENCE)
        self._tls = tls_context
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session; the first request connects."""
        self._session = new_session(
            connections=self.concurrency, tls=self._tls or True, headers=self._headers
        )

    async def close(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def deliver(self, events: Sequence[Event[T]]) -> None:
        """Send the one event. Raises Rejected, Retryable or Unavailable as the answer tells."""
        (event,) = events
        method, url, headers, body = self._request(event)
        exchange.set(this := Exchange())
        try:
            with self._deadline.kept():
                await self._send(method, url, headers, body)
        except TimeoutError as error:
            if not this.is_accepted:
                raise Unavailable(f"{method} {url}: no answer in {self._timeout} s") from error
        except (aiohttp.ClientError, HttpProcessingError) as error:
            if not this.is_accepted:
                raise Unavailable(f"{method} {url}: {self._masked(_named(error))}") from error
        except ValueError as error:  # a line break in a header, and the like
            raise Rejected(f"{method} {url} cannot be sent: {self._masked(str(error))}") from error

    def _request(self, event: Event[T]) -> tuple[str, URL, dict[str, str], bytes | None]:
        headers = {self._idempotency_header: event.idempotency_key}
        if event.traceparent:
            headers[TRACEPARENT] = event.traceparent
        try:
            path = self._path(event)
            url = self._joined(path)
            if self._delete_method is not None and event.change == "delete":
                return self._delete_method, url, headers, None
            headers["Content-Type"] = "application/json"
            return self._method, url, headers, to_json(event.data)
        except DataError as error:
            raise Rejected(str(error)) from error

    async def _send(
        self, method: str, url: URL, headers: dict[str, str], body: bytes | None
    ) -> None:
        assert self._session is not None, "deliver before open"
        async with self._session.request(
            method, url, headers=headers, data=body, allow_redirects=False
        ) as response:
            if 200 <= response.status < 300:
                await self._drain(response)
                return
            answer = await _start_of(response)
            shown = self._masked(answer[:SHOWN].decode(errors="replace"))
            raise failure(
                response.status,
                f"{method} {url} answered {response.status}: {shown or response.reason}",
                retry_after=response.headers.get("Retry-After", ""),
                location=response.headers.get("Location", ""),
            )

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        """Read the body of an accepted request, so that its connection can be used again.

        Why for a moment only: an API that answers 200 and then drips or streams (server-sent
        events) has accepted the event; waiting for the end held each of them for the whole timeout.
        """
        if response.content.at_eof():
            return
        try:
            with self._patience.kept():
                await _start_of(response)
        except TimeoutError:
            response.close()

    def _joined(self, path: str) -> URL:
        if not path:
            return self._url
        if self._path_is_foreign:
            require_encoded(path)
        base = str(self._url)
        return URL((base.rstrip("/") if path[0] == "/" else base) + path, encoded=True)

    def _masked(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return text


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
    except ValueError as error:
        raise ConfigurationError(f"HttpSink: {url!r} is not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError(f"HttpSink: {url!r} is not an http(s) URL")
    if parsed.user or parsed.password:
        raise ConfigurationError("HttpSink: take user and password out of the URL, use auth=")
    if parsed.raw_query_string or parsed.raw_fragment:
        raise ConfigurationError("HttpSink: put a query into path=, url= is followed by the path")
    return parsed


def _hidden(
    token: Secret | str | None,
    auth: tuple[str, Secret | str] | None,
    headers: Mapping[str, Secret | str] | None,
) -> list[str]:
    """What no error may show, even if the answer repeats it."""
    secrets = [token, auth and auth[1]]
    secrets += [value for value in (headers or {}).values() if isinstance(value, Secret)]
    return [text for secret in secrets if secret and (text := revealed(secret))]


def _authorization(
    token: Secret | str | None, auth: tuple[str, Secret | str] | None
) -> dict[str, str]:
    if token is not None and auth is not None:
        raise ConfigurationError("HttpSink: give token= or auth=, not both")
    if token is not None:
        return {"Authorization": f"Bearer {revealed(token)}"}
    if auth is not None:
        pair = f"{auth[0]}:{revealed(auth[1])}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    return {}
