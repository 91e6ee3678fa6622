"""A flow that reads a table of PostgreSQL. ``FLOW`` names it, ``DSN`` the database."""

import os

from trunkline import Flow, Params, Record, Secret
from trunkline.connectors.postgres import PostgresCDC
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    dsn: Secret


flow = Flow(NAME, Env)


@flow.source
def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, tables=["orders"], slot=NAME.replace("-", "_"))


@flow.topic(f"{NAME}.orders", source=shop)
def orders(row: Record) -> Order:
    return Order(id=row.key, status=row.data["status"], total_cents=1)
