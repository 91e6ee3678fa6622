"""A flow that writes orders into files. ``FLOW`` names it."""

import os

from trunkline import Event, Flow, Params
from trunkline.connectors.files import FileSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    folder: str


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


@flow.destination(batch=100, linger="50ms")
def lake(env: Env) -> FileSink[Order]:
    return FileSink(env.folder, Order, by="hour")


@flow.route(orders, to=lake)
def every_order(order: Event[Order]) -> Order:
    return order.data
