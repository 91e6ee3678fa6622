"""Queries as a gateway asks them: written once, awaited as long as their callers do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from trunkline.access.policy import Client
from trunkline.gateway.calls import confirmed
from trunkline.gateway.catalog import Offered
from trunkline.gateway.problems import Problem
from trunkline.gateway.writer import CallWriter
from trunkline.streams.journal.record import CallRecord
from trunkline.streams.journal.reply import QueryReply


class Queries:
    """For the event loop; ``awaits`` for any thread. ``clock``: epoch seconds."""

    def __init__(self, writer: CallWriter, clock: Callable[[], float]) -> None:
        self._writer = writer
        self._clock = clock
        self._waiting: dict[str, asyncio.Future[QueryReply]] = {}

    async def ask(
        self, offered: Offered, client: Client, request: Any, traceparent: str, seconds: float
    ) -> QueryReply:
        """What the system answers within so many seconds. Raises Problem, also where it does not:
        the query is over then, and nobody asks it again."""
        now, id_ = self._clock(), str(uuid.uuid4())
        query = CallRecord(
            call=id_,
            state="accepted",
            operation=offered.name,
            client=client.name,
            key=offered.entity_key(request),
            fingerprint="",
            accepted_at=now,
            expires_at=now + seconds,
            at=now,
        )
        value = offered.encode(request)
        answer = self._waiting[id_] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                with confirmed(id_):
                    await self._writer.write_query(offered, query, value, traceparent)
                found: QueryReply = await answer
                return found
        except TimeoutError:
            told = f"there was no answer in {seconds:g} s"
            raise Problem("system-timeout", told, system=offered.system) from None
        finally:
            del self._waiting[id_]

    def awaits(self, query: str) -> bool:
        """Whether somebody waits for this one."""
        return query in self._waiting

    def arrived(self, replies: list[QueryReply]) -> None:
        """Answers have come; each is its caller's."""
        for reply in replies:
            answer = self._waiting.get(reply.query)
            if answer is not None and not answer.done():
                answer.set_result(reply)
