"""The gateway job: orders of an API are corrected by calls."""

from trunkline import Call, Flow, HttpRequest, Params
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order


class Env(Params):
    api: str


flow = Flow("deskbench", Env)


@flow.destination
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink(env.api, Order, concurrency=200)


@flow.operation(to=erp, verb="replace", resource="orders", key="id")
def correct_order(call: Call[Order]) -> HttpRequest:
    """Correct an order."""
    return HttpRequest("PUT", f"/orders/{call.data['id']}", json=call.data)
