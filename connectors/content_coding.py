"""A body as it was sent by HTTP, and unpacked, within bounds."""

from __future__ import annotations

import zlib

_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": zlib.MAX_WBITS}
"""zlib's number for each content coding of RFC 9110."""


class TooLarge(ValueError):
    """The body unpacks to more than it may have."""


class UnknownCoding(ValueError):
    """The body is packed in a way that is not read here."""


def unpacked(body: bytes, coding: str, limit: int) -> bytes:
    """The content of a body that ``Content-Encoding`` says is packed so; "" if it is not.

    Raises TooLarge where it has more than ``limit`` bytes, however little was sent; UnknownCoding;
    ValueError for what is not packed as the header says, or breaks off.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in _WINDOW:
        raise UnknownCoding("the body is not packed by gzip or deflate, and no other way is read")
    unpack = zlib.decompressobj(_WINDOW[coding])
    try:
        content = unpack.decompress(body, limit + 1)
    except zlib.error:
        raise ValueError("the body is not encoded as its header says") from None
    if len(content) > limit:
        raise TooLarge(f"the body has more than {limit} bytes, unpacked")
    if not unpack.eof or unpack.unused_data:
        raise ValueError("the body broke off, or has something behind its end")
    return content
