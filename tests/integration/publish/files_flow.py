"""A flow that reads a folder. ``FLOW`` names it."""

import os

from trunkline import Flow, Params, Record
from trunkline.connectors.files import FileSource
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    folder: str


flow = Flow(NAME, Env)


@flow.source
def till(env: Env) -> FileSource:
    return FileSource(env.folder, key="id", settle="0s", interval="50ms", batch=50)


@flow.topic(f"{NAME}.orders", source=till)
def orders(row: Record) -> Order:
    return Order(id=row.key, status=row.data["status"], total_cents=int(row.data["cents"]))
