"""A flow of two sources, each of which one of several workers reads. ``FLOW`` names it, ``DSN`` the
database."""

import os

from trunkline import Flow, Params, Record, Secret
from trunkline.connectors.postgres import PostgresCDC
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]
SLOT = NAME.replace("-", "_")


class Env(Params):
    dsn: Secret


flow = Flow(NAME, Env)


@flow.source
def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, tables=["orders"], slot=f"{SLOT}_orders", batch=500)


@flow.source
def returns(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, tables=["returned"], slot=f"{SLOT}_returned")


def _order(row: Record) -> Order:
    return Order(id=row.key, status=row.data["status"], total_cents=row.data["cents"])


@flow.topic(f"{NAME}.orders", source=shop)
def orders(row: Record) -> Order:
    return _order(row)


@flow.topic(f"{NAME}.returned", source=returns)
def returned(row: Record) -> Order:
    return _order(row)
