"""What a 2xx answer says in its body: an API may answer 200 and mean no, or answer each item.

``Judge`` is a function of the flow's: it sees the whole answer and says what became of the event,
or of each event of a batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from trunkline.connectors.http.answers import failure
from trunkline.errors import DeliveryError, PartialFailure, Retryable

MAX_BODY = 1_048_576
"""Bytes of an answer that is judged."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer: ``status``, ``headers`` (their names in lower case), ``body`` as it was sent,
    decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises Retryable for a body that is none: what the API made of the
        request is not known then."""
        try:
            return orjson.loads(self.body)
        except ValueError as error:
            raise Retryable(
                f"answered {self.status} with a body that is no JSON: {self.body[:100]!r}",
                cause=f"answered {self.status} with a body that is no JSON",
            ) from error


Judgement = DeliveryError | Sequence[int | DeliveryError | None] | None
Judge = Callable[[Answer], Judgement]
"""Returns None where all is delivered, or the error that it is; of a batch also a list with None,
an HTTP status or an error for each of its events. May raise instead."""


def apply(judgement: Judgement, count: int, what: str) -> None:
    """Raise what a judgement about ``count`` events says. ``what``: the request, for messages."""
    if judgement is None:
        return
    if isinstance(judgement, DeliveryError):
        raise judgement
    items = list(judgement)
    if len(items) != count:
        raise Retryable(
            f"{what}: judge= returned {len(items)} results for {count} events",
            cause="judge= returned another number of results than there are events",
        )
    failures = {index: error for index, item in enumerate(items) if (error := _error(item, what))}
    if count == 1 and failures:
        raise failures[0]
    if failures:
        raise PartialFailure(failures)


def _error(item: int | DeliveryError | None, what: str) -> DeliveryError | None:
    if item is None or isinstance(item, DeliveryError):
        return item
    if 200 <= item < 300:
        return None
    told = f"an item of {what} was answered {item}"
    return failure(item, told, cause=f"an item was answered {item}")


async def read_answer(response: aiohttp.ClientResponse) -> Answer:
    """The whole answer. Raises Retryable for one that is too long or cannot be decompressed."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > MAX_BODY:
            response.close()
            raise Retryable(f"answered {response.status} with more than {MAX_BODY} bytes to judge")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    return Answer(response.status, headers, _plain(bytes(body), encoding, response.status))


async def whole_body(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer that is a success, whatever is in it; b"" for one that is longer than
    MAX_BODY or cannot be decompressed: the system has done what it was asked for all the same."""
    try:
        return (await read_answer(response)).body
    except Retryable:
        return b""


def _plain(body: bytes, encoding: str, status: int) -> bytes:
    if encoding in ("identity", ""):
        return body
    try:
        if encoding not in ("gzip", "deflate"):
            raise ValueError("it was asked for none")
        plain = zlib.decompressobj(wbits=47 if encoding == "gzip" else 15)
        found = plain.decompress(body, MAX_BODY)
        if plain.unconsumed_tail:
            raise ValueError("too long")
    except (ValueError, zlib.error) as error:
        raise Retryable(
            f"answered {status} in {encoding[:20]!r}, which cannot be read: {error}",
            cause=f"answered {status} in an encoding that cannot be read",
        ) from error
    return found
