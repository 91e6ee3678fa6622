"""What the sinks of a database have in common: their drivers block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from trunkline.connectors.base import Finding, Sink
from trunkline.connectors.sql.errors import delivery_error
from trunkline.errors import ConfigurationError

T = TypeVar("T")


class BlockingSink(Sink[T]):
    """A sink whose work is done in threads of its own; ``open`` makes them, and may be called again
    after Unavailable."""

    _threads: ThreadPoolExecutor | None = None

    def _engines(self) -> list[Engine]:
        """Its engines, the one that ``check`` tries first."""
        raise NotImplementedError

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        assert self._threads is not None, "the sink is not open"
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def close(self) -> None:
        """Wait for the transactions under way, also cancelled ones, and close all connections."""
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
            self._threads = None
        for engine in self._engines():
            engine.dispose()

    def _findings(self, look: Callable[[], object] | None) -> list[Finding]:
        """Whether the database lets us in, and what ``look`` then raises of its tables."""
        engine = self._engines()[0]
        try:
            with engine.connect():
                pass
            if look is not None:
                look()
        except SQLAlchemyError as error:
            return [Finding(f"the database cannot be used: {delivery_error(error)}")]
        except ConfigurationError as error:
            return [Finding(str(error))]
        finally:
            engine.dispose()
        return []
