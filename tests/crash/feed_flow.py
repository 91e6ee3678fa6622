"""A topic that somebody else publishes, to one HTTP API.

``FLOW`` names the flow, ``LONGEST`` is the longest delay between attempts, ``PATIENCE`` the
seconds that one may take.
"""

import os

from trunkline import Event, Flow, Params, Retry
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    api: str


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


@flow.destination(retry=Retry("100ms", os.environ.get("LONGEST", "300ms")))
def api(env: Env) -> HttpSink[Order]:
    return HttpSink(
        env.api,
        Order,
        path="/orders/{key}",
        delete_method="DELETE",
        concurrency=16,
        timeout=float(os.environ.get("PATIENCE", "10")),
    )


@flow.route(orders, to=api)
def forward(order: Event[Order]) -> Order:
    return order.data
