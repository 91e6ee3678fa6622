"""The public keys of one issuer, as its JWKS document (RFC 7517) has them.

They are fetched by one task beside all requests, which only look at what is there: every TTL, and
sooner where a token names a key that is not known, but at most once in COOLDOWN. So a new key is
known within COOLDOWN of the first token that names it, and however many tokens name keys that there
never were, the issuer is asked as seldom as that. While it does not answer the keys that are known
stay good, for a day.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key

from trunkline.access.issuers import IssuerEntry, secure
from trunkline.errors import ConfigurationError

log = logging.getLogger(__name__)

TTL = 300.0
"""Seconds after which keys are fetched again."""
COOLDOWN = 10.0
"""Seconds between two fetches at least, whatever is asked for."""
STALE = 86_400.0
"""Seconds that keys are good for which cannot be fetched again."""
PATIENCE = 3.0
"""Seconds that a request waits for a fetch that is under way."""
MAX_WAITING = 50
"""Requests that wait so; more are refused at once: nobody fills a gateway with invented keys."""
TIMEOUT = 5.0
MAX_DOCUMENT = 262_144
MAX_KEYS = 100
MIN_RSA = 2_048
"""Bits of an RSA key: shorter ones can be broken."""
KINDS = ("RSA", "EC", "OKP")
DISCOVERY = "/.well-known/openid-configuration"


class IssuerKeys:
    """The keys of one issuer. For the event loop. ``now``: monotonic seconds."""

    def __init__(self, name: str, entry: IssuerEntry, now: Callable[[], float]) -> None:
        self.name, self.entry = name, entry
        self._now = now
        self._keys: Mapping[str, Key] = {}
        self._fetched_at: float | None = None
        self._tried_at = float("-inf")
        self._wanted = asyncio.Event()
        self._fetching: asyncio.Future[None] | None = None
        self._waiting = 0
        self.trouble = ""

    @property
    def age(self) -> float | None:
        """Seconds since the keys were fetched; None: they never were."""
        return None if self._fetched_at is None else self._now() - self._fetched_at

    @property
    def is_known(self) -> bool:
        """Whether there are keys that are good."""
        return self.age is not None and self.age <= STALE

    async def find(self, kid: str) -> Key | None:
        """The key of this id; of no id the only one that there is. Waits for a fetch that is under
        way, or about to be."""
        found = self._find(kid)
        if found is not None:
            return found
        self._wanted.set()
        comes = self._fetching is not None or self._now() - self._tried_at >= COOLDOWN
        if not comes or self._waiting >= MAX_WAITING:
            return None
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_future()
        self._waiting += 1
        try:
            await asyncio.wait([self._fetching], timeout=PATIENCE)
        finally:
            self._waiting -= 1
        return self._find(kid)

    def _find(self, kid: str) -> Key | None:
        if not self.is_known:
            return None
        if not kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def keep(self) -> None:
        """Fetch the keys, and again. For ever."""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(TIMEOUT), trust_env=True
        ) as http:
            while True:
                await self._fetch(http)
                self._wanted.clear()
                await asyncio.sleep(COOLDOWN)
                if not self.trouble:
                    try:
                        await asyncio.wait_for(self._wanted.wait(), TTL - COOLDOWN)
                    except TimeoutError:
                        log.debug("the keys of %s are fetched again", self.name)

    async def _fetch(self, http: aiohttp.ClientSession) -> None:
        self._tried_at = self._now()
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_future()
        try:
            keys = await _fetched(http, self.entry)
        except (aiohttp.ClientError, TimeoutError, ConfigurationError, OSError) as failure:
            told = f"{type(failure).__name__}: {failure}"
            if self.trouble != told:
                log.error("the keys of the issuer %s cannot be fetched: %s", self.name, told)
            self.trouble = told
        else:
            if self.trouble:
                log.info("the keys of the issuer %s are fetched again", self.name)
            self._keys, self._fetched_at, self.trouble = keys, self._now(), ""
        finally:
            self._fetching.set_result(None)
            self._fetching = None


async def _fetched(http: aiohttp.ClientSession, entry: IssuerEntry) -> dict[str, Key]:
    url = entry.jwks
    if url is None:
        found = await _document(http, entry.issuer.rstrip("/") + DISCOVERY)
        if found.get("issuer") != entry.issuer:
            raise ConfigurationError("its discovery document is another issuer's")
        # As strict as the file: the issuer's own word must not lead to an address without TLS.
        try:
            url = secure(str(found.get("jwks_uri")))
        except ValueError as error:
            raise ConfigurationError(f"its jwks_uri {error}") from error
    return keys_of(await _document(http, url))


async def _document(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with http.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise ConfigurationError(f"{url} answered {answer.status}")
        body = bytearray()
        async for chunk in answer.content.iter_chunked(65_536):
            body += chunk
            if len(body) > MAX_DOCUMENT:
                raise ConfigurationError(f"{url} has more than {MAX_DOCUMENT} bytes")
    try:
        found = orjson.loads(bytes(body))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{url} is no JSON object")
    return found


def keys_of(document: Mapping[str, Any]) -> dict[str, Key]:
    """The keys of a document that are public and for signatures, by their ids; others are left
    out, as RFC 7517 has it. Raises ConfigurationError where none is left."""
    given = document.get("keys")
    found: dict[str, Key] = {}
    for one in given[:MAX_KEYS] if isinstance(given, list) else ():
        kind = one.get("kty") if isinstance(one, dict) else None
        if kind not in KINDS or one.get("use", "sig") != "sig" or "d" in one:
            continue
        # Base64 has 6 bits a character.
        if kind == "RSA" and len(str(one.get("n", ""))) * 6 < MIN_RSA:
            continue
        try:
            found[str(one.get("kid", ""))] = import_key(one)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    if not found:
        raise ConfigurationError("it has no key that verifies signatures")
    return found
