"""Orders to a system that is known to be down after two calls. ``FLOW`` names it."""

import os

from trunkline import CircuitBreaker, Event, Flow, Params
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    api: str


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


@flow.destination(
    breaker=CircuitBreaker(failures=2, open="500ms", longest="500ms", slow_start="0s")
)
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink(env.api, Order, path="/orders/{key}")


@flow.route(orders, to=erp)
def to_erp(order: Event[Order]) -> Order:
    return order.data
