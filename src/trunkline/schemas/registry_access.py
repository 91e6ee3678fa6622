"""How a registry is reached over the network: its address, and the certificates on both sides."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from trunkline.errors import ConfigurationError, RegistryRefused
from trunkline.masking import concealed

T = TypeVar("T")

MAX_ANSWER = 64_000_000
"""Bytes of an answer at the most."""
MAX_ERROR = 65_536
"""Characters of one that is an error."""

UNESCAPED = "a password's own / ? # @ are written %2F %3F %23 %40 (or set the password apart)"


def checked_address(url: str) -> httpx.URL:
    """The address, if it is one. Raises ConfigurationError, without any part of it."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:  # its text has parts of the address: of http://u:pass/word@h "pass"
        raise ConfigurationError(f"the schema registry's address is no URL; {UNESCAPED}") from None
    if b"@" in address.raw_path or "@" in address.fragment:
        # http://u:12/34@h would be the host u, its port 12, and told with each error.
        raise ConfigurationError(f"the schema registry's address has an @ in its path; {UNESCAPED}")
    if address.scheme not in ("http", "https") or not address.host:
        raise ConfigurationError("the schema registry's address must begin with http://HOST")
    return address


def tls_of(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """What a client trusts, and the certificate that it shows; files in PEM, "" for none. Raises
    ConfigurationError for a file that is none."""
    context = ssl.create_default_context()
    try:
        if ca:
            context.load_verify_locations(ca)
        if certificate:
            context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (ca, certificate, key)))
        raise ConfigurationError(
            f"the schema registry's certificates cannot be used ({files}): {error}; see "
            "registry_ca, registry_certificate and registry_key"
        ) from None
    return context


def require_trust(url: str, error: Exception) -> None:
    """Raise RegistryRefused for what waiting does not mend."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        raise RegistryRefused(
            f"the certificate of the schema registry at {url} is not one of an authority that is "
            "trusted here, or is for another host: give its authority in registry_ca "
            f"(TRUNKLINE_REGISTRY_CA). TLS says: {text}"
        ) from error
    if "ALERT" in text.upper() and "SSL" in text.upper():
        raise RegistryRefused(
            f"the schema registry at {url} wants a client certificate, or another one: set "
            f"registry_certificate and registry_key. TLS says: {text}"
        ) from error
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        raise RegistryRefused(
            f"the schema registry at {url} speaks no TLS there: begin its address with http://"
        ) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry answered: the status, and the body's JSON, or its text."""

    status: int
    body: Any

    @property
    def code(self) -> int:
        """The registry's own error code; 0 where a stranger answered, whatever it calls so."""
        code = self.body.get("error_code") if isinstance(self.body, dict) else None
        is_number = isinstance(code, int) and not isinstance(code, bool)
        return code if is_number and self.status >= 400 else 0  # type: ignore[return-value]

    def member(self, name: str, kind: type[T]) -> T | None:
        """A member of the body, if it is there and of this type; the body itself for ""."""
        value = self.body.get(name) if isinstance(self.body, dict) else None
        value = value if name else self.body
        return value if type(value) is kind else None

    @property
    def message(self) -> str:
        """What it says of an error, up to 1,000 characters."""
        message = self.body.get("message") if isinstance(self.body, dict) else None
        return str(message or self.body)[:1000]


def answer_text(response: httpx.Response, secrets: Iterable[str] = ()) -> str:
    """The answer as text: a registry's is JSON, which is UTF-8. An error comes without these
    ``secrets``: some servers repeat the request in it, and with it its headers. Raises
    httpx.StreamError for one that does not end."""
    found = bytearray()
    for chunk in response.iter_bytes():
        found += chunk
        if len(found) > MAX_ANSWER:
            raise httpx.StreamError(f"the answer is longer than {MAX_ANSWER} bytes")
    text = found.decode(errors="replace")
    return concealed(text[:MAX_ERROR], secrets) if response.status_code >= 400 else text


def body_of(text: str) -> Any:
    """The answer's JSON, or its text where it is none, or nested beyond reading."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def safe(subject: str) -> str:
    """A subject as a part of a path."""
    return quote(subject, safe="")


def clock_ahead(response: httpx.Response, now: float) -> float | None:
    """Seconds that the server's clock is ahead of ours, by the answer's ``Date``, which has whole
    seconds; None if it has none. ``now``: epoch seconds."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp() - now
    except (KeyError, ValueError, TypeError):
        return None
