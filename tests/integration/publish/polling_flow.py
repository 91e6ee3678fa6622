"""A flow that compares a table with what it was. ``FLOW`` names it."""

import os

from trunkline import Flow, Params, Record, Secret
from trunkline.connectors.sql import FullComparison, SqlPolling
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    url: Secret
    table: str


flow = Flow(NAME, Env)


@flow.source
def erp(env: Env) -> SqlPolling:
    return SqlPolling(env.url, env.table, by=FullComparison(), interval="100ms", batch=50)


@flow.topic(f"{NAME}.orders", source=erp)
def orders(row: Record) -> Order:
    return Order(id=row.key, status=row.data["status"], total_cents=row.data["cents"])
