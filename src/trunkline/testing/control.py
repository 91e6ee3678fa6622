"""A control topic in memory: what tests of flows and of steps use in place of Kafka's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from trunkline.streams.control.topic import StateStore


class MemoryControl(StateStore):
    """A control topic in memory, for tests: a write comes back in the loop's next round."""

    async def start(self) -> None:
        """Nothing to wait for."""

    async def stop(self) -> None:
        """Nothing to release."""

    async def put(self, key: str, value: Mapping[str, Any] | None) -> None:
        """As ``ControlTopic.put``; a value that is not JSON raises TypeError here too."""
        written = None if value is None else orjson.loads(orjson.dumps(dict(value)))
        asyncio.get_running_loop().call_soon(self.apply, key, written)
