"""What a token must be to be believed: a signed JWT (RFC 7519) of an issuer, for us and of now."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from trunkline.access.issuers import IssuerEntry

MAX_TOKEN = 12_288
"""Characters of a token: the head of a request has 16 KiB in all."""
MAX_ROLES = 1_000
_SUBJECT = re.compile(r"[\x21-\x7e]{1,200}")
_REGISTRY = JWSRegistry(strict_check_header=False)
_REGISTRY.max_header_length = 4_096


class BadToken(Exception):
    """It is not to be believed. Callers are never told why: its message is for our log."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a token says of itself, before anything of it is believed. ``kid``: of its key, "" for
    none."""

    text: str
    issuer: str
    kid: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class Believed:
    """What a token says that is to be believed."""

    subject: str
    roles: tuple[str, ...]


def claimed(text: str) -> Claimed:
    """Read a token as far as it is needed to find its key. Raises BadToken."""
    if len(text) > MAX_TOKEN or text.count(".") != 2 or not text.isascii():
        raise BadToken("it is no signed token")
    head, payload, _ = text.split(".")
    header, claims = _object(head), _object(payload)
    # A critical extension is one that whoever does not know it must not ignore: we know none.
    if "crit" in header or "b64" in header:
        raise BadToken("it has a critical extension")
    issuer, kid, algorithm = claims.get("iss"), header.get("kid", ""), header.get("alg")
    if not isinstance(issuer, str) or not isinstance(kid, str) or not isinstance(algorithm, str):
        raise BadToken("its header or issuer is none")
    return Claimed(text, issuer, kid, algorithm)


def believed(token: Claimed, entry: IssuerEntry, key: Key, now: Callable[[], float]) -> Believed:
    """What a token says, if this key has signed it and it is for us and of now. Raises BadToken."""
    if token.algorithm not in entry.algorithms:
        raise BadToken(f"it is signed by {token.algorithm[:20]!r}")
    try:
        found = jwt.decode(token.text, key, [token.algorithm], _REGISTRY).claims
        jwt.JWTClaimsRegistry(
            now=lambda: int(now()),
            iss={"essential": True, "value": entry.issuer},
            aud={"essential": True, "value": entry.audience},
            exp={"essential": True},
        ).validate(found)
    # What a foreign library raises for what an attacker has written is not always its own.
    except (JoseError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as refused:
        raise BadToken(f"{type(refused).__name__}") from refused
    subject = _at(found, entry.client)
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise BadToken(f"its claim {entry.client} names no client")
    return Believed(subject, tuple(_roles(_at(found, entry.roles))))


def _object(part: str) -> dict[str, Any]:
    try:
        found = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error) as error:
        raise BadToken("it is no token") from error
    if not isinstance(found, dict):
        raise BadToken("it is no token")
    return found


def _at(claims: Mapping[str, Any], path: str) -> Any:
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _roles(found: Any) -> Iterable[str]:
    """A list, or names with spaces between them, as ``scope`` has them."""
    many = found.split() if isinstance(found, str) else found
    if not isinstance(many, list):
        return ()
    return [role for role in many[:MAX_ROLES] if isinstance(role, str)]
