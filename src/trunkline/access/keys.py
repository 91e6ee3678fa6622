"""API keys: ``tlk_<id>_<secret>_<check>``.

The secret has 256 random bits, so a plain SHA-256 of it is as good as any slow hash: nobody can go
through them, and a slow hash on each request would be a way to stop the gateway. The check digits
(CRC-32) let a typing error, and a secret scanner, be told apart from a key without asking anyone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from typing import NamedTuple

PREFIX = "tlk"
_KEY = re.compile(r"tlk_([a-z0-9]{12})_([0-9a-f]{64})_([0-9a-f]{8})")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class NewKey(NamedTuple):
    """A key that was just made. ``text``: the whole key, which is shown once and never stored;
    ``id`` names it; ``sha256``: what is stored."""

    text: str
    id: str
    sha256: str


def new_key() -> NewKey:
    """A fresh key of the system's randomness."""
    id_ = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    start = f"{PREFIX}_{id_}_{secrets.token_hex(32)}"
    text = f"{start}_{_check(start)}"
    return NewKey(text, id_, hashed(text))


def key_id(text: str) -> str:
    """The id of a key that is well formed, else ""."""
    found = _KEY.fullmatch(text)
    if found is None or not hmac.compare_digest(_check(text.rpartition("_")[0]), found[3]):
        return ""
    return found[1]


def hashed(text: str) -> str:
    """What is stored of a key: SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_key(text: str, sha256: str) -> bool:
    """Whether a key is the one that was stored; takes the same time for each that is not."""
    return hmac.compare_digest(hashed(text), sha256)


def _check(start: str) -> str:
    return f"{zlib.crc32(start.encode()):08x}"
