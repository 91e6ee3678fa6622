"""The CDC job: a table's rows and changes become canonical events."""

from benchmarks.shop import TABLE, ShopRow, canonical
from trunkline import Flow, Params, Record, Secret
from trunkline.connectors.postgres import PostgresCDC


class Env(Params):
    dsn: Secret
    readers: int = 2


flow = Flow("cdcbench", Env)


@flow.source
def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, tables=[TABLE], readers=env.readers)


@flow.topic("cdcbench.orders", source=shop)
def orders(row: Record) -> ShopRow:
    return canonical(row.data)
