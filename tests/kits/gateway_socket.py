"""A gateway without Kafka on a real socket, for what callers send it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn

from quota_kit import SharedLog, memory_limits
from trunkline.access.policy import AccessPolicy
from trunkline.gateway.app import Doors, Gateway
from trunkline.gateway.audit import AccessAudit
from trunkline.gateway.availability import Availability
from trunkline.gateway.book import CallBook
from trunkline.gateway.calls import Calls
from trunkline.gateway.catalog import Catalog, Offered
from trunkline.gateway.events import EventTopics
from trunkline.gateway.identity.callers import Callers
from trunkline.gateway.requests import Limits
from trunkline.gateway.server import protocol
from trunkline.schemas.commerce import Order
from trunkline.schemas.plain.read import PlainReader
from trunkline.schemas.types import schema_of
from trunkline.streams.flow.operation import OperationPolicy

LIMITS = Limits(body=2000, body_seconds=0.5, waiting=5, connections=50, head_seconds=0.5)
PATH = "/v1/systems/erp/operations/correct"


@asynccontextmanager
async def serving(
    policy: AccessPolicy,
    not_ready: str = "it still reads",
    limits: Limits = LIMITS,
    request: type = Order,
) -> AsyncIterator[int]:
    """A gateway without Kafka, with the operation ``erp/correct`` of requests of this type: what
    gets as far as Kafka is answered 503. Yields its port."""
    schema = schema_of(request)
    offered = Offered(
        *("erp", "correct", "shop", "shop.erp.inbox", "shop.erp.calls"),
        policy=OperationPolicy("update", "orders", "id"),
        schema=schema,
        reader=PlainReader(schema.parsed),
        encode=lambda value: b"",
        described="Correct.",
    )
    book = CallBook(lambda: 0.0)
    none, failures = cast(Any, None), list[BaseException]()
    doors = Doors(
        catalog=Catalog([offered]),
        book=book,
        calls=Calls(book, None, lambda: 0.0),  # type: ignore[arg-type]  # never asked
        queries=none,
        availability=Availability(lambda: 0.0),
        events=EventTopics([]),
        writer=none,
        decisions=none,
        audit=AccessAudit(lambda *record: None, lambda: 0.0),
        quota=memory_limits(SharedLog(), "gateway"),
        callers=Callers(lambda: policy, lambda: 0.0, failures.append),
        not_ready=lambda: not_ready,
        dead=lambda: "",
        version="0",
        limits=limits,
    )
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        Gateway(doors).app(),
        http=protocol(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        h11_max_incomplete_event_size=4096,
    )
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listening.close()


class _no_signals:
    def __enter__(self) -> None: ...
    def __exit__(self, *failure: object) -> None: ...
