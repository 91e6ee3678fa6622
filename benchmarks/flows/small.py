"""A small flow, of which the job ``flows`` makes fifty: a source that has nothing new, a topic, a
route, a destination."""

import threading
from collections.abc import Iterator

from benchmarks.orders import Order, PickList
from trunkline import Event, Flow, Params, Record
from trunkline.connectors.base import Batch, Position, Source
from trunkline.connectors.http import HttpSink


class Env(Params):
    api: str = "http://localhost:9999"


flow = Flow("small-00", Env)


class Quiet(Source):
    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        stop.wait()
        yield from ()


@flow.source
def shop(env: Env) -> Quiet:
    return Quiet()


@flow.topic("bench.small-00", source=shop)
def orders(row: Record) -> Order:
    raise NotImplementedError


@flow.destination
def warehouse(env: Env) -> HttpSink[PickList]:
    return HttpSink(env.api, PickList)


@flow.route(orders, to=warehouse)
def pick_list(event: Event[Order]) -> PickList | None:
    return None
