"""A topic that somebody else publishes, to one HTTP API. ``FLOW`` names the flow."""

import os

from trunkline import Event, Flow, Params, Retry
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    api: str
    concurrency: int = 16


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


@flow.destination(retry=Retry("100ms", "300ms"))
def api(env: Env) -> HttpSink[Order]:
    return HttpSink(
        env.api, Order, path="/orders/{key}", delete_method="DELETE", concurrency=env.concurrency
    )


@flow.route(orders, to=api)
def forward(order: Event[Order]) -> Order:
    return order.data
