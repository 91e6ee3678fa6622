"""The route job: paid orders reach the warehouse and billing, all others the CRM."""

from benchmarks.orders import Activity, Invoice, Order, PickList
from trunkline import Event, Flow, Params
from trunkline.connectors.http import HttpSink


class Env(Params):
    api: str = "http://localhost:9999"


flow = Flow("routebench", Env)

orders = flow.existing_topic("bench.orders", Order)


@flow.destination
def warehouse(env: Env) -> HttpSink[PickList]:
    return HttpSink(env.api, PickList)


@flow.destination
def billing(env: Env) -> HttpSink[Invoice]:
    return HttpSink(env.api, Invoice)


@flow.destination
def crm(env: Env) -> HttpSink[Activity]:
    return HttpSink(env.api, Activity)


@flow.route(orders, to=warehouse, only="order.paid")
def pick_list(event: Event[Order]) -> PickList:
    order = event.data
    return PickList(
        order_id=order["id"],
        skus=[line["sku"] for line in order["lines"]],
        pieces=sum(line["quantity"] for line in order["lines"]),
        city=order["ship_to"]["city"],
        country=order["ship_to"]["country"],
    )


@flow.route(orders, to=billing, only="order.paid")
def invoice(event: Event[Order]) -> Invoice:
    order = event.data
    return Invoice(
        order_id=order["id"],
        customer=order["customer"],
        issued_at=order["placed_at"],
        currency=order["currency"],
        total_cents=order["total_cents"],
        country=order["ship_to"]["country"],
    )


@flow.route(orders, to=crm, only=["order.placed", "order.shipped"])
def activity(event: Event[Order]) -> Activity:
    order = event.data
    return Activity(
        customer=order["customer"],
        order_id=order["id"],
        what=order["status"],
        at=order["placed_at"],
        total_cents=order["total_cents"],
    )
