"""A topic that somebody else publishes, to one HTTP API, with what another one knows of each key.

``FLOW`` names the flow.
"""

import os
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx

from trunkline import Event, Flow, Params, Retry, Retryable
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order, PickList

NAME = os.environ["FLOW"]


class Env(Params):
    api: str
    customers: str


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


def path(event: Event[PickList]) -> str:
    """The API is told the event's id, so that what it got can be compared with the topics."""
    return f"/orders/{quote(event.key)}?id={quote(event.id)}"


@flow.destination(retry=Retry("100ms", "300ms", "1s"))
def api(env: Env) -> HttpSink[PickList]:
    return HttpSink(env.api, PickList, path=path, concurrency=16)


@flow.client
async def http(env: Env) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=env.customers, timeout=30) as client:
        yield client


@flow.enrich(to=api)
async def with_customer(order: Order, http: httpx.AsyncClient) -> PickList:
    answer = await http.get(f"/customers/{order['id']}/{order['total_cents']}")
    if answer.status_code == 404:
        raise Retryable("the customer is not there yet")
    return PickList(order_id=answer.raise_for_status().text)


@flow.route(orders, to=with_customer)
def forward(order: Event[Order]) -> Order:
    return order.data
