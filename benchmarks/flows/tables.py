"""The tables job: every order reaches the CRM, with or without what its customer gets off.

``TABLE``: where the customers are, ``memory`` or ``disk``; nothing is looked up without it.
"""

import os

from benchmarks.customers import Customer
from benchmarks.orders import Activity, Order
from trunkline import Event, Flow, Params, Table
from trunkline.connectors.http import HttpSink

TABLE = os.environ.get("TABLE", "")


class Env(Params):
    api: str = "http://localhost:9999"


flow = Flow(f"tablebench-{TABLE or 'none'}", Env)
orders = flow.existing_topic("bench.orders", Order)


@flow.destination
def crm(env: Env) -> HttpSink[Activity]:
    return HttpSink(env.api, Activity)


def activity(order: Order, discount: int) -> Activity:
    return Activity(
        customer=order["customer"],
        order_id=order["id"],
        what=order["status"],
        at=order["placed_at"],
        total_cents=order["total_cents"] * (100 - discount) // 100,
    )


if TABLE:
    known = flow.existing_topic("bench.customers", Customer)
    flow.table(known, store="disk" if TABLE == "disk" else "memory")

    @flow.route(orders, to=crm)
    def discounted(event: Event[Order], customers: Table[Customer]) -> Activity:
        customer = customers[event.data["customer"]]
        parent = customers.get(customer["parent"] or "")
        return activity(event.data, max(customer["discount"], parent["discount"] if parent else 0))

else:

    @flow.route(orders, to=crm)
    def plain(event: Event[Order]) -> Activity:
        return activity(event.data, 0)
