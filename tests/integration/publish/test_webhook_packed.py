"""Bodies that callers pack: signed as they are sent or unpacked, and bounded once unpacked."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import orjson
import pytest
from test_webhook import posted, signed

BODY = orjson.dumps({"id": 7})
PACKED = gzip.compress(BODY)


def post(body: bytes, coding: str, **more: Any) -> Any:
    headers = {"Content-Encoding": coding, **more.pop("headers", {})}
    return posted(body, headers=headers, **more)


@pytest.mark.parametrize("text", [PACKED, BODY], ids=["as it is sent", "unpacked"])
def test_either_form_may_be_signed(text: bytes) -> None:
    headers = {"X-Hub-Signature-256": signed(text, "s3cret")}
    outcome = post(PACKED, "gzip", secret="s3cret", headers=headers)
    assert outcome.status == 202
    assert [record.data for record in outcome.records] == [{"id": 7}]


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (zlib.compress(BODY), "deflate", 202),
        (BODY, "identity", 202),
        (PACKED, "GZIP", 202),
        (PACKED, "br", 415),
        (PACKED, "gzip, gzip", 415),
        (PACKED[:-4], "gzip", 400),
        (PACKED + b"more", "gzip", 400),
        (BODY, "gzip", 400),
        (PACKED, "", 400),
        (gzip.compress(bytes(10_000_000)), "gzip", 413),
    ],
)
def test_what_is_packed_otherwise_is_told(body: bytes, coding: str, status: int) -> None:
    outcome = post(body, coding)
    assert outcome.status == status, outcome.texts
    assert len(outcome.records) == (status == 202)


def test_a_wrong_signature_is_401_whatever_is_wrong_besides() -> None:
    headers = {"X-Hub-Signature-256": signed(b"x", "s3cret")}
    for body, coding in ((PACKED, "gzip"), (PACKED, "br"), (BODY, "gzip")):
        assert post(body, coding, secret="s3cret", headers=headers).status == 401
