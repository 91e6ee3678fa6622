"""The CDC job on MariaDB: a table's rows and changes become canonical events."""

from benchmarks.shop import ShopRow, canonical
from benchmarks.shop_mariadb import TABLE
from trunkline import Flow, Params, Record, Secret
from trunkline.connectors.mysql import MySqlCDC


class Env(Params):
    dsn: Secret


flow = Flow("cdcmaria", Env)


@flow.source
def shop(env: Env) -> MySqlCDC:
    return MySqlCDC(env.dsn, tables=[TABLE])


@flow.topic("cdcmaria.orders", source=shop)
def orders(row: Record) -> ShopRow:
    return canonical(row.data)
