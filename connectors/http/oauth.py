"""OAuth 2.0 client credentials (RFC 6749, 4.4): a token that renews itself.

A token is asked for once, by whichever request comes first, and again before it expires; requests
that come meanwhile wait for the same answer.
"""

from __future__ import annotations

import asyncio
import base64
import ssl as tls
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import orjson

from trunkline.errors import AddressError, ConfigurationError, Unavailable
from trunkline.masking import concealed
from trunkline.params import Secret, revealed

MAX_ANSWER = 65_536
"""Bytes of a token endpoint's answer."""
MAX_TOKEN = 16_384
MARGIN = 60.0
"""Seconds before its end at which a token is renewed, or a tenth of its time if that is less."""
UNTOLD = 300.0
"""Seconds that a token counts for whose answer does not say."""
LONGEST = 86_400.0


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """How an API's token is had: ``HttpSink(…, oauth=ClientCredentials(…))``.

    ``token_url``: the token endpoint. ``scope``, ``audience``: sent along, if given. ``auth``:
    whether id and secret go as Basic authorization (RFC 6749, 2.3.1) or in the ``body``. Raises
    ConfigurationError for what cannot work.
    """

    token_url: str
    client_id: str
    client_secret: Secret | str
    scope: str = ""
    audience: str = ""
    auth: Literal["basic", "body"] = "basic"

    def __post_init__(self) -> None:
        if not self.token_url.startswith(("https://", "http://")):
            raise AddressError("ClientCredentials: token_url= is not an http(s) URL")
        if "@" in self.token_url:  # each error names the URL
            raise AddressError(
                "ClientCredentials: take user and password out of token_url=, use client_id= and "
                "client_secret="
            )
        if self.auth not in ("basic", "body"):
            raise ConfigurationError(f"ClientCredentials: auth={self.auth!r} is not basic or body")

    def form(self) -> dict[str, str]:
        """The body of a token request."""
        form = {"grant_type": "client_credentials", "scope": self.scope, "audience": self.audience}
        if self.auth == "body":
            form |= {
                "client_id": self.client_id,
                "client_secret": revealed(self.client_secret),
            }
        return {name: text for name, text in form.items() if text}

    def headers(self) -> dict[str, str]:
        """The headers of a token request."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.auth == "basic":  # both are form-encoded first, RFC 6749, 2.3.1
            secret = quote(revealed(self.client_secret), safe="")
            pair = f"{quote(self.client_id, safe='')}:{secret}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        return headers


class TokenSource:
    """The current token of one sink. For one event loop."""

    def __init__(self, credentials: ClientCredentials) -> None:
        self._credentials = credentials
        self._token = ""
        self._renew_at = 0.0
        self._lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def open(self, tls_context: tls.SSLContext | None) -> None:
        """Make the session; the first request connects."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=tls_context or True),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the session, and forget the token."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        self._token = ""

    @property
    def shown(self) -> list[str]:
        """What no error may show."""
        secret = revealed(self._credentials.client_secret)
        return [text for text in (self._token, secret) if text]

    def refused(self, token: str) -> None:
        """The API takes this token no more, whatever its answer had said."""
        if token == self._token:
            self._token = ""

    async def token(self) -> str:
        """The token to send now. Raises Unavailable while there is none: without it any event
        would fail, so none of them is to blame."""
        now = asyncio.get_running_loop().time
        if self._token and now() < self._renew_at:
            return self._token
        async with self._lock:
            if not self._token or now() >= self._renew_at:
                self._token, lasts = await self._ask()
                self._renew_at = now() + lasts - min(MARGIN, lasts / 10)
            return self._token

    async def _ask(self) -> tuple[str, float]:
        assert self._session is not None, "token before open"
        where = self._credentials.token_url
        try:
            async with self._session.post(
                where,
                data=self._credentials.form(),
                headers=self._credentials.headers(),
                allow_redirects=False,
            ) as answer:
                body = await answer.content.read(MAX_ANSWER)
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(f"no token: POST {where}: {type(error).__name__}") from error
        if status != 200:
            said = f"no token: POST {where} answered {status}{reason_of(body)}"
            raise Unavailable(concealed(said, self.shown))
        return parsed_token(where, body)


def parsed_token(where: str, body: bytes) -> tuple[str, float]:
    """The token of an endpoint's answer, and for how many seconds it counts. Raises Unavailable."""
    try:
        answer: Any = orjson.loads(body)
        token, lasts = answer["access_token"], answer.get("expires_in", UNTOLD)
        lasts = float(lasts)  # some send it as text
        if not isinstance(token, str) or not token.isprintable() or not 0 < len(token) <= MAX_TOKEN:
            raise ValueError("no token")
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise Unavailable(
            f"no token: POST {where} answered 200, but what it says is no token answer"
        ) from error
    return token, lasts if 0 < lasts <= LONGEST else LONGEST if lasts > LONGEST else UNTOLD


def reason_of(body: bytes) -> str:
    """The error's code, as RFC 6749 (5.2) has it: ": invalid_client"; never what else is there."""
    try:
        code = orjson.loads(body)["error"]
    except (KeyError, TypeError, ValueError):
        return ""
    return f": {code[:60]}" if isinstance(code, str) and code.isprintable() else ""
