"""The latency job: a change of a row becomes a request at an HTTP API."""

from benchmarks.shop import TABLE, ShopRow, canonical
from trunkline import Event, Flow, Params, Record, Secret
from trunkline.connectors.http import HttpSink
from trunkline.connectors.postgres import PostgresCDC


class Env(Params):
    dsn: Secret
    api: str


flow = Flow("latencybench", Env)


@flow.source
def shop(env: Env) -> PostgresCDC:
    return PostgresCDC(env.dsn, tables=[TABLE])


@flow.topic("latencybench.orders", source=shop)
def orders(row: Record) -> ShopRow:
    return canonical(row.data)


@flow.destination
def api(env: Env) -> HttpSink[ShopRow]:
    return HttpSink(env.api, ShopRow)


@flow.route(orders, to=api)
def history(event: Event[ShopRow]) -> ShopRow:
    return event.data
