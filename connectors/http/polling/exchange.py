"""One request of HttpPolling: its authorization, its limits, and what its answer means."""

from __future__ import annotations

import base64
import logging
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import httpx

from trunkline.connectors.content_coding import TooLarge, unpacked
from trunkline.connectors.http.answers import DOWN, LATER
from trunkline.connectors.http.oauth import (
    MARGIN,
    MAX_ANSWER,
    ClientCredentials,
    parsed_token,
    reason_of,
)
from trunkline.connectors.waiting import Calls, Stopped
from trunkline.errors import ConfigurationError, SourceError, Unavailable
from trunkline.masking import MAX_SECRET, concealed
from trunkline.params import Secret, revealed
from trunkline.times import seconds_until

log = logging.getLogger(__name__)

SHOWN = 200
"""Characters of an answer that stand in an error."""
PATIENT = 5
"""How often in a row a server may ask to wait."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A 2xx answer, or 304. ``headers``: names in lower case; ``body``: decompressed."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class AnswerError(SourceError):
    """An answer with another status than 2xx and 304."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class HttpExchange:
    """Makes requests, one after the other. For one thread.

    ``timeout``: seconds of one request, all in all. ``max_body``: bytes of an answer.
    ``max_wait``: seconds that a ``Retry-After`` is waited for at the most.
    """

    def __init__(
        self,
        *,
        headers: Mapping[str, Secret | str],
        params: Mapping[str, Secret | str],
        token: Secret | str | None,
        auth: tuple[str, Secret | str] | None,
        oauth: ClientCredentials | None,
        timeout: float,
        max_body: int,
        max_wait: float,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        self._params = {name: revealed(value) for name, value in params.items()}
        self._secret_params = [name for name, value in params.items() if isinstance(value, Secret)]
        given = {name: revealed(value) for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {revealed(token)}"
        if auth is not None:
            pair = base64.b64encode(f"{auth[0]}:{revealed(auth[1])}".encode()).decode()
            given["Authorization"] = f"Basic {pair}"
        for name, value in given.items():
            # A secret of a file often ends with a line feed. The client's error would show it.
            if not value.isprintable() or value != value.strip():
                raise ConfigurationError(
                    f"HttpPolling: what is sent as {name} has a line break, or blanks around it"
                )
        secrets = [*params.values(), *headers.values(), token, auth and auth[1]]
        hidden = [revealed(each) for each in secrets if isinstance(each, Secret)]
        hidden += [revealed(each) for each in (token, auth and auth[1]) if each]
        hidden += [revealed(oauth.client_secret)] if oauth is not None else []
        self._hidden = hidden
        self._headers = {
            "User-Agent": "trunkline",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            **given,
        }
        self._oauth = oauth
        self._token, self._renew_at = "", 0.0
        self._timeout = timeout
        self._max_body = max_body
        self._max_wait = max_wait
        self._tls = tls_context
        self._client: httpx.Client | None = None
        self._calls = Calls("http-polling")

    def get(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str], stop: threading.Event
    ) -> HttpAnswer:
        """The answer to a GET. Waits, PATIENT times, as long as the server asks for in
        ``Retry-After``, and renews a token that is refused. Raises SourceError for any answer but
        2xx and 304, and Stopped."""
        renewed, waits = False, 0
        while True:
            answer = self._calls.run(partial(self._get, url, params, headers), stop)
            status, after = answer.status, answer.headers.get("retry-after", "")
            if status == 304 or 200 <= status < 300:
                return answer
            if status == 401 and self._oauth is not None and not renewed:
                renewed, self._token = True, ""
                continue
            later = status in LATER or status in DOWN
            seconds = seconds_until(after) if later else None
            if seconds is None or waits == PATIENT or seconds > self._max_wait:
                raise AnswerError(self._refusal(answer), status)
            waits += 1
            log.info("%s answered %d: asked again in %.0f s", _shown(url), status, seconds)
            if stop.wait(seconds):
                raise Stopped

    def without_secrets(self, url: str) -> str:
        """A URL without the parameters that are secret, and are sent anyway: APIs write them into
        the next page's URL, which stands in the position."""
        try:
            found = httpx.URL(url)
            for name in self._secret_params:
                if name in found.params:
                    found = found.copy_remove_param(name)
        except (httpx.InvalidURL, ValueError) as error:
            raise SourceError(self.concealed(f"the next page's URL is none: {error}")) from None
        return str(found)

    def close(self) -> None:
        """Release the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _refusal(self, answer: HttpAnswer) -> str:
        said = f"GET {_shown(answer.url)} answered {answer.status}"
        if 300 <= answer.status < 400:
            said += " (redirects are not followed: another host must not get the credentials)"
        if after := answer.headers.get("retry-after"):
            said += f", and asks to wait: {after[:40]} (max_wait= is {self._max_wait:g} s)"
        body = self.concealed(answer.body[: SHOWN + MAX_SECRET].decode(errors="replace"))[:SHOWN]
        return f"{self.concealed(said)}: {body}".rstrip(": ")

    def concealed(self, text: str) -> str:
        """Text of the API's, without what it may repeat of our secrets."""
        return concealed(text, [*self._hidden, self._token])

    def _get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        end = time.monotonic() + self._timeout
        try:
            sent = {**self._headers, **headers, **self._authorization(end)}
            with self._opened().stream("GET", self._full(url, params), headers=sent) as answer:
                body = self._body(answer, end)
                found = {name.lower(): value for name, value in answer.headers.items()}
                return HttpAnswer(url, answer.status_code, found, body)
        except httpx.LocalProtocolError:  # it shows the header, and so the secret
            said = f"GET {_shown(url)}: a header has characters that HTTP does not take"
            raise SourceError(said) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            said = f"GET {_shown(url)}: {type(error).__name__}: {error}"
            raise SourceError(self.concealed(said)[:500]) from None

    def _full(self, url: str, params: Mapping[str, str]) -> httpx.URL:
        """What is asked for: what a next page's URL says counts more than what is always sent."""
        full = httpx.URL(url)
        always = {name: value for name, value in self._params.items() if name not in full.params}
        query = {**always, **params}
        return full.copy_merge_params(query) if query else full

    def _body(self, answer: httpx.Response, end: float) -> bytes:
        """Unpacked here: httpx unpacks as often as the server says, and 800 bytes that are packed
        twice are 400 MB before anybody can count them."""
        shown = _shown(str(answer.url))
        large = (
            f"GET {shown} answered more than max_body={self._max_body} bytes: ask for smaller "
            "pages, or raise it"
        )
        body = bytearray()
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > self._max_body:
                raise SourceError(large)
            if time.monotonic() > end:
                raise SourceError(f"GET {shown} took longer than timeout={self._timeout:g} s")
        if not body:  # 304 has the headers of what it does not send
            return b""
        try:
            coding = answer.headers.get("content-encoding", "")
            return unpacked(bytes(body), coding, self._max_body)
        except TooLarge:
            raise SourceError(large) from None

    def _opened(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(
                timeout=self._timeout,
                follow_redirects=False,
                verify=self._tls or ssl.create_default_context(),
                trust_env=False,
            )
        return self._client

    def _authorization(self, end: float) -> dict[str, str]:
        if self._oauth is None:
            return {}
        if not self._token or time.monotonic() >= self._renew_at:
            self._token, lasts = self._ask(self._oauth, end)
            self._renew_at = time.monotonic() + lasts - min(MARGIN, lasts / 10)
        return {"Authorization": f"Bearer {self._token}"}

    def _ask(self, oauth: ClientCredentials, end: float) -> tuple[str, float]:
        where, body = oauth.token_url, bytearray()
        form, headers = oauth.form(), oauth.headers()
        try:
            with self._opened().stream("POST", where, data=form, headers=headers) as answer:
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > MAX_ANSWER or time.monotonic() > end:
                        raise SourceError(f"no token: POST {where} answers too much, or too slowly")
                status = answer.status_code
        except (httpx.HTTPError, OSError) as error:
            raise SourceError(f"no token: POST {where}: {type(error).__name__}") from None
        if status != 200:
            said = f"no token: POST {where} answered {status}{reason_of(bytes(body))}"
            raise SourceError(self.concealed(said))
        try:
            return parsed_token(where, bytes(body))
        except Unavailable as error:
            raise SourceError(str(error)) from None


def _shown(url: str) -> str:
    """A URL without its query, which may hold a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
