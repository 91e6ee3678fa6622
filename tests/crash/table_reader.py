"""A worker's table, which is looked up all the time; for a test that kills it.

Says each value that it finds first, one a line: bootstrap, registry, topic, folder are its
arguments.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from trunkline import Flow, Params
from trunkline.params import Backbone
from trunkline.schemas.codec import Codec
from trunkline.schemas.commerce import Order
from trunkline.schemas.registry import Registry
from trunkline.streams.metrics import Metrics
from trunkline.streams.tables.disk import on_disk
from trunkline.streams.tables.lookup import StoredTable
from trunkline.streams.tables.step import TablesStep
from trunkline.streams.tables.table_set import TableSet

KEYS = ("a", "b", "c", "d")


class Env(Params):
    """No parameters."""


async def main(bootstrap: str, registry: str, topic: str, folder: str) -> None:
    """Look up until somebody kills us."""
    codec = Codec(Registry(registry))
    flow = Flow("killed", Env)
    definition = flow.table(flow.existing_topic(topic, Order), store="disk")
    tables = TableSet(flow, codec)
    step = TablesStep(
        tables,
        Backbone(bootstrap=bootstrap, registry=registry),
        Metrics(),
        opener=lambda topic: on_disk(Path(folder)),
        learn=codec.learn_schemas,
    )
    await step.start()
    table = tables.lookup(definition)
    assert isinstance(table, StoredTable)
    seen: dict[str, int] = {}
    while step.failure is None:
        for key in KEYS:
            found = table.get(key)
            number = -1 if found is None else found["total_cents"]
            if seen.get(key) != number:
                seen[key] = number
                print(key, number, flush=True)
        await asyncio.sleep(0)
    raise step.failure


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
