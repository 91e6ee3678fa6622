"""How callers sign what they send, and the forms of those whom many know.

All of them are an HMAC of the body, which some put behind a time and an id; they differ in where it
stands and how it is written. Sources: GitHub "Validating webhook deliveries", Stripe "Check the
webhook signatures", Shopify "Verify webhook deliveries", Slack "Verifying requests", and Standard
Webhooks 1.0.0 (standard-webhooks/standard-webhooks).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from trunkline.errors import ConfigurationError, DataError
from trunkline.params import Secret, revealed
from trunkline.times import parse_duration

AnySecret = Secret | str
Encoding = Literal["hex", "base64"]

MOST_SIGNATURES = 20
"""Signatures of one request that are looked at: a caller that rotates its secrets sends two."""
_PARTS = re.compile(r"\{(body|time|id)\}")
_SECONDS = re.compile(rb"[0-9]{1,12}")
_STANDARD_PREFIX = "whsec_"


class Signed(NamedTuple):
    """What a right signature has shown. ``digest`` names the signed content; ``time``: epoch
    seconds, None where none is signed; ``id``: the signed one, "" where none is."""

    digest: bytes
    time: int | None
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """An HMAC of a request, in a header.

    ``secret``: what both sides know; several while it is being changed: any of them is right.
    ``base64_secret``: whether the key is what its base64 says, behind ``whsec_``.
    ``header``: where the signature is; a name of the caller's. ``encoding``, ``hash``: how it is
    made. ``prefix``: what stands before it, as ``sha256=``. ``separator``: between several
    signatures, of which those with the prefix are looked at, and one must be right; "" for one
    alone. ``content``: what is signed: ``{body}``, and ``{time}`` and ``{id}`` if they are.
    ``time_header``: where the time is, in epoch seconds, or ``time_prefix``: which of the separated
    parts has it. ``id_header``: where the id is. ``tolerance``: how far the signed time may be off
    this machine's clock. ``message_id``: which header or field names a message by default, as
    ``id=`` of ``WebhookSource`` does; that of ``id_header``, if there is one. ``challenge``: the
    ``type`` of a JSON body by which the caller asks whether somebody listens: its ``challenge`` is
    answered, and nothing published.

    Raises ConfigurationError for what cannot be.
    """

    secret: AnySecret | Sequence[AnySecret]
    header: str
    encoding: Encoding = "hex"
    hash: Literal["sha256", "sha512"] = "sha256"
    prefix: str = ""
    separator: str = ""
    content: str = "{body}"
    time_header: str = ""
    time_prefix: str = ""
    id_header: str = ""
    tolerance: str = "5m"
    base64_secret: bool = False
    message_id: str | None = None
    challenge: str = ""

    def __post_init__(self) -> None:
        signed = _PARTS.findall(self.content)
        if self.encoding not in ("hex", "base64") or self.hash not in ("sha256", "sha512"):
            raise ConfigurationError(
                "Signature: encoding= is hex or base64, hash= sha256 or sha512"
            )
        if not self.header or signed.count("body") != 1:
            raise ConfigurationError("Signature: header= is named, and content= has one {body}")
        if ("time" in signed) != bool(self.time_header or self.time_prefix):
            raise ConfigurationError(
                "Signature: a time that is signed is {time} in content=, and time_header= or "
                "time_prefix= says where it is: give both, or neither"
            )
        if ("id" in signed) != bool(self.id_header) or (self.time_prefix and not self.separator):
            raise ConfigurationError(
                "Signature: {id} in content= goes with id_header=, time_prefix= with separator="
            )
        if parse_duration(self.tolerance) <= 0:
            raise ConfigurationError("Signature: tolerance= is longer than nothing: 5m, say")
        self.keys()

    @staticmethod
    def github(secret: AnySecret | Sequence[AnySecret]) -> Signature:
        """GitHub's, and of those who do as GitHub: hex of the body's. No time is signed."""
        return Signature(
            secret=secret,
            header="X-Hub-Signature-256",
            prefix="sha256=",
            message_id="X-GitHub-Delivery",
        )

    @staticmethod
    def shopify(secret: AnySecret | Sequence[AnySecret]) -> Signature:
        """Shopify's: base64 of the body's. No time is signed."""
        return Signature(
            secret=secret,
            header="X-Shopify-Hmac-Sha256",
            encoding="base64",
            message_id="X-Shopify-Webhook-Id",
        )

    @staticmethod
    def stripe(secret: AnySecret | Sequence[AnySecret], *, tolerance: str = "5m") -> Signature:
        """Stripe's: ``t=<time>,v1=<hex>``, with several ``v1`` while its secret is being changed.
        Messages are named by the event's ``id``, which is signed."""
        return Signature(
            secret=secret,
            header="Stripe-Signature",
            separator=",",
            prefix="v1=",
            time_prefix="t=",
            content="{time}.{body}",
            tolerance=tolerance,
            message_id="/id",
        )

    @staticmethod
    def slack(secret: AnySecret | Sequence[AnySecret], *, tolerance: str = "5m") -> Signature:
        """Slack's: ``v0=<hex>`` of time and body. Messages are named by what is signed."""
        return Signature(
            secret=secret,
            header="X-Slack-Signature",
            prefix="v0=",
            time_header="X-Slack-Request-Timestamp",
            content="v0:{time}:{body}",
            tolerance=tolerance,
            challenge="url_verification",
        )

    @staticmethod
    def standard(secret: AnySecret | Sequence[AnySecret], *, tolerance: str = "5m") -> Signature:
        """Standard Webhooks': base64 of id, time and body; secrets as ``whsec_<base64>``."""
        return Signature(
            secret=secret,
            header="webhook-signature",
            encoding="base64",
            separator=" ",
            prefix="v1,",
            time_header="webhook-timestamp",
            id_header="webhook-id",
            content="{id}.{time}.{body}",
            tolerance=tolerance,
            base64_secret=True,
            message_id="webhook-id",
        )

    @property
    def has_time(self) -> bool:
        """Whether the time is signed, so that an old request can be told from a new one."""
        return "{time}" in self.content

    def keys(self) -> list[bytes]:
        """The keys of the secrets. Raises ConfigurationError for an empty one."""
        several = [self.secret] if isinstance(self.secret, Secret | str) else list(self.secret)
        texts = [revealed(each) for each in several]
        if not texts or not all(texts):
            raise ConfigurationError("Signature: secret= is empty: it would let everybody in")
        keys = [_from_base64(text) if self.base64_secret else text.encode() for text in texts]
        if not all(keys):
            raise ConfigurationError("Signature: secret= has nothing behind whsec_")
        return keys


class Verifier:
    """Checks the signatures of requests. ``clock``: epoch seconds, now."""

    def __init__(self, signature: Signature, clock: Callable[[], float]) -> None:
        self._signature = signature
        self._keys = signature.keys()
        self._tolerance = parse_duration(signature.tolerance)
        self._clock = clock
        self._parts = _PARTS.split(signature.content)

    def verify(self, headers: Mapping[str, str], bodies: Collection[bytes]) -> Signed | None:
        """What a request's signature shows; None for a wrong one, or none.

        ``headers``: found whatever the case of their names. ``bodies``: the body as it was sent,
        and unpacked: callers sign the one or the other. Raises DataError for a right signature of a
        time that is too far off: a request that somebody sends again, or clocks that differ.

        All comparisons are made, by ``compare_digest``: how long the answer takes tells nobody how
        much of a guess was right.
        """
        form = self._signature
        given = header_of(headers, form.header)
        separator = form.separator.encode()
        parts = [part.strip() for part in given.split(separator)] if separator else [given.strip()]
        time, id_ = self._time(headers, parts), header_of(headers, form.id_header)
        if (form.has_time and time is None) or (form.id_header and not id_):
            return None
        signatures = self._signatures(parts)
        shown: bytes | None = None
        for body in bodies:
            content = self._content(body, b"" if time is None else time, id_)
            for key in self._keys:
                right = hmac.new(key, content, form.hash).digest()
                if sum(hmac.compare_digest(one, right) for one in signatures):
                    shown = hashlib.sha256(content).digest()
        if shown is None:
            return None
        seconds = None if time is None else int(time)
        if seconds is not None and abs(self._clock() - seconds) > self._tolerance:
            raise DataError(
                f"the signature's time is more than {form.tolerance} off: an old request, or a "
                "clock that is wrong"
            )
        return Signed(shown, seconds, id_.decode(errors="backslashreplace"))

    def _time(self, headers: Mapping[str, str], parts: Sequence[bytes]) -> bytes | None:
        """The time as it is written, which is what was signed; None for none, or no number."""
        form = self._signature
        prefix = form.time_prefix.encode()
        times = [part.removeprefix(prefix) for part in parts if part.startswith(prefix)]
        if not form.time_prefix:
            times = [header_of(headers, form.time_header)] if form.time_header else []
        # Of two times nobody knows which one was signed.
        return times[0] if len(times) == 1 and _SECONDS.fullmatch(times[0]) else None

    def _signatures(self, parts: Sequence[bytes]) -> list[bytes]:
        form = self._signature
        prefix = form.prefix.encode()
        ours = [part for part in parts if not form.separator or part.startswith(prefix)]
        texts = [part.removeprefix(prefix) for part in ours[:MOST_SIGNATURES]]
        read = bytes.fromhex if form.encoding == "hex" else _base64
        return [raw for text in texts if (raw := _decoded(text, read))]

    def _content(self, body: bytes, time: bytes, id: bytes) -> bytes:
        values = {"body": body, "time": time, "id": id}
        # A split by the names: text and names take turns.
        return b"".join(
            values[part] if n % 2 else part.encode() for n, part in enumerate(self._parts)
        )


def _from_base64(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
    except ValueError:
        raise ConfigurationError(
            "Signature: secret= is not whsec_ and base64, as Standard Webhooks have it"
        ) from None


def header_of(headers: Mapping[str, str], name: str) -> bytes:
    """A header's bytes as they came, which need not be UTF-8; b"" for none."""
    return headers.get(name, "").encode(errors="surrogateescape")


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _decoded(text: bytes, read: Callable[[str], bytes]) -> bytes:
    """The signature's bytes; b"" for what is none."""
    try:
        return read(text.decode("ascii"))
    except (ValueError, binascii.Error):
        return b""
