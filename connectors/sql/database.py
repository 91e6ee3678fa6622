"""SqlDatabase: the statements of a flow's operations, on a database that is a system of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from trunkline.connectors.base import Finding, HttpReply, SqlRequest
from trunkline.connectors.sql.blocking import BlockingSink
from trunkline.connectors.sql.calls import StatementRunner
from trunkline.connectors.sql.engine import require_durable, sql_engine
from trunkline.connectors.sql.errors import delivery_error
from trunkline.errors import Rejected
from trunkline.event import Event
from trunkline.params import Secret, revealed
from trunkline.schemas.types import avro_type


class NoEvents(TypedDict):
    """What a sink accepts that takes calls alone."""


avro_type(
    NoEvents, '{"type": "record", "name": "NoEvents", "namespace": "trunkline", "fields": []}'
)


class SqlDatabase(BlockingSink[NoEvents]):
    """Runs operations on a database: queries, and statements that change rows. It takes no events.

    ``url``: as SqlSink's. ``calls``: the table that knows which calls were done, with their
    answers; None: none, and then a call whose answer was lost may run twice. ``create_table``: make
    that table if it is missing. ``max_rows``: of one answer. ``concurrency``: statements under way
    at once in one worker; ``timeout``: seconds for connecting and for each statement.

    Each call is one transaction. With the table of calls a command is done once, whatever is sent
    again: the row that says so is committed with it. A query runs in a transaction that can change
    nothing. The drivers block, so each runs in a thread of the sink's own. Raises
    ConfigurationError for arguments that cannot work, MissingExtra if the driver is not installed.
    """

    takes_calls = SqlRequest

    def __init__(
        self,
        url: Secret | str,
        *,
        calls: str | None = "tl_calls",
        create_table: bool = False,
        max_rows: int = 1_000,
        concurrency: int = 4,
        timeout: float = 10.0,
    ) -> None:
        self.type = NoEvents
        self.concurrency = concurrency
        self._engine = sql_engine(
            revealed(url), timeout=timeout, connections=concurrency, json_as_text=True
        )
        self._runner = StatementRunner(self._engine, calls, create=create_table, max_rows=max_rows)
        self._create = create_table

    async def open(self) -> None:
        """Connect, and make or find the table of calls. Raises ConfigurationError with its DDL,
        Unavailable."""
        require_durable(self._engine)
        if self._threads is None:  # it may be called again after Unavailable
            self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="sql-database")
        try:
            await self._in_thread(self._runner.prepare)
        except SQLAlchemyError as error:
            raise delivery_error(error) from error

    def check(self) -> list[Finding]:
        """See ``Sink.check``."""
        return self._findings(None if self._create else self._runner.prepare)

    async def deliver(self, events: Sequence[Event[NoEvents]]) -> None:
        """Raises Rejected: there is no table that an event could be written to."""
        raise Rejected("the destination takes calls of its operations alone: SqlSink takes events")

    async def call(self, request: SqlRequest, id: str, traceparent: str = "") -> HttpReply:
        """Run one statement; see ``StatementRunner.run`` for answers and errors."""
        reply: HttpReply = await self._in_thread(self._runner.run, request, id)
        return reply

    def _engines(self) -> list[Engine]:
        return [self._engine]
