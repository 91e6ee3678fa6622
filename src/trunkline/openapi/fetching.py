"""A document from where somebody says that it is: the only place that asks another machine."""

from __future__ import annotations

from pathlib import Path

import httpx

from trunkline.errors import ConfigurationError
from trunkline.masking import without_secrets
from trunkline.openapi.reading import MAX_BYTES

TIMEOUT = 30.0
HOPS = 5


def fetched(source: str) -> bytes:
    """The bytes of a file, or of an http(s) URL, which alone is asked: no reference is followed to
    another one. Raises ConfigurationError."""
    if not source.startswith(("http://", "https://")):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{source} cannot be read: {error.strerror}") from None
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=HOPS, timeout=TIMEOUT) as client,
            client.stream("GET", source) as answer,
        ):
            if answer.status_code != 200:
                raise ConfigurationError(f"{shown(source)} answered {answer.status_code}")
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ConfigurationError(f"{shown(source)} has more than {MAX_BYTES} bytes")
            return bytes(body)
    except httpx.HTTPError as error:
        told = f"{shown(source)} cannot be had: {type(error).__name__}"
        raise ConfigurationError(told) from None


def shown(source: str) -> str:
    """A source as it may be written into a file: without user, password and query."""
    if source.startswith(("http://", "https://")):
        url = httpx.URL(source)
        return without_secrets(str(url.copy_with(username=None, password=None, query=None)))
    return Path(source).as_posix()
