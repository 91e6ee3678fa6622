"""A topic that somebody else publishes, to one HTTP API.

``FLOW`` names the flow, ``LONGEST`` is the longest delay between attempts, ``PATIENCE`` the
seconds that one may take.
"""

import os
from urllib.parse import quote

from trunkline import Event, Flow, Params, Retry
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]


class Env(Params):
    api: str


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


def path(event: Event[Order]) -> str:
    """The API is told the event's id, so that what it got can be compared with the topics."""
    return f"/orders/{quote(event.key)}?id={quote(event.id)}"


@flow.destination(retry=Retry("100ms", os.environ.get("LONGEST", "300ms")))
def api(env: Env) -> HttpSink[Order]:
    return HttpSink(
        env.api,
        Order,
        path=path,
        delete_method="DELETE",
        concurrency=16,
        timeout=float(os.environ.get("PATIENCE", "10")),
    )


@flow.route(orders, to=api)
def forward(order: Event[Order]) -> Order:
    return order.data
