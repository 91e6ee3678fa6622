"""Calls that come again before their gateway has read its own record of them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from trunkline.gateway.book import CallBook
from trunkline.gateway.calls import HEARD_IN, Calls
from trunkline.gateway.problems import Problem

CLIENT = cast(Any, SimpleNamespace(name="desk"))
OFFERED = cast(
    Any,
    SimpleNamespace(
        system="erp",
        name="correct_order",
        policy=SimpleNamespace(expires=3600.0, approve=""),
        encode=lambda request: b"\0\0\0\0\1" + request,
        entity_key=lambda request: "7",
    ),
)


class Written:
    """A writer that Kafka confirms all of."""

    async def write(self, *given: Any) -> None:
        del given


def test_a_call_is_known_as_soon_as_it_is_written() -> None:
    """Its caller has the 202, and comes again with the same key, or with another request."""
    now = [1000.0]
    calls = Calls(CallBook(lambda: now[0]), cast(Any, Written()), lambda: now[0])

    async def scene() -> None:
        assert not calls.is_known(OFFERED, CLIENT, "k")
        first = await calls.submit(OFFERED, CLIENT, "k", b"one", "")
        assert not first.repeated
        assert calls.is_known(OFFERED, CLIENT, "k")
        assert (await calls.submit(OFFERED, CLIENT, "k", b"one", "")).repeated
        with pytest.raises(Problem) as refused:
            await calls.submit(OFFERED, CLIENT, "k", b"another", "")
        assert refused.value.kind == "idempotency-key-reused"
        now[0] += HEARD_IN  # from here on what is read says it
        assert not calls.is_known(OFFERED, CLIENT, "k")
        now[0] += 0.1
        await calls.submit(OFFERED, CLIENT, "l", b"one", "")
        assert len(calls._written) == 1, "and nothing is kept for longer"

    asyncio.run(scene())
