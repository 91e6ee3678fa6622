"""A route that asks, against all advice, a service that is down while a file is there."""

import os
from pathlib import Path

from trunkline import Event, Flow, Params, Unavailable
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    down: str


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


@flow.destination
def api(env: Env) -> HttpSink[Order]:
    return HttpSink("http://127.0.0.1:1", Order)


@flow.route(orders, to=api)
def asking(order: Event[Order], env: Env) -> Order:
    if order.data["status"] == "ask" and Path(env.down).exists():
        raise Unavailable("the customers' service is down")
    return order.data
