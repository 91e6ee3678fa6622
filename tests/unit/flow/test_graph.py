"""The topology as text and Mermaid: whole, in a fixed order, with every topic's name."""

from __future__ import annotations

from trunkline import Event, Flow, Params, Record, Retry, System
from trunkline.connectors.base import Sink, Source
from trunkline.schemas.commerce import Order, PickList
from trunkline.streams.flow.graph import mermaid, text

flow = Flow("orders", Params)
ERP = System("erp", rate="50/s")


@flow.source
def shop(env: Params) -> Source:
    raise AssertionError("a graph builds nothing")


@flow.source
def till(env: Params) -> Source:
    raise AssertionError("a graph builds nothing")


@flow.topic("commerce.orders", source=[shop, till])
def orders(row: Record) -> Order:
    raise NotImplementedError


@flow.topic("commerce.returns", source=till)
def returns(row: Record) -> Order:
    raise NotImplementedError


refunds = flow.existing_topic("commerce.refunds-2", Order)


@flow.destination(retry=Retry("10s", "1m"), rate="50/s", reject=[422, KeyError])
def warehouse(env: Params) -> Sink[PickList]:
    raise AssertionError("a graph builds nothing")


@flow.destination(order="none", retry=Retry("1s"), system=ERP)
def crm(env: Params) -> Sink[Order]:
    raise AssertionError("a graph builds nothing")


@flow.enrich(to=warehouse, cache="10m")
async def with_rack(order: Order) -> PickList:
    raise NotImplementedError


@flow.route(orders, to=with_rack)
def pick_list(order: Event[Order]) -> Order:
    raise NotImplementedError


@flow.route(orders, to=crm, only=["order.*", 'a "b"'])
def history(order: Event[Order]) -> Order:
    return order.data


@flow.route(refunds, to=crm)
def refunded(order: Event[Order]) -> Order:
    return order.data


TREE = """\
flow orders
├─ source shop  (positions orders.shop.positions, dlq orders.shop.dlq)
│  └─ topic commerce.orders
│     ├─ route pick_list
│     │  └─ inbox orders.warehouse.inbox
│     │     └─ enrichment with_rack  (cache 10m, concurrent 20)
│     │        └─ destination warehouse  (order key, retry 10s 1m, rate 50/s, reject 422 KeyError)
│     │           ├─ retry orders.warehouse.retry.10s
│     │           ├─ retry orders.warehouse.retry.1m
│     │           └─ dlq orders.warehouse.dlq
│     └─ route history  (only order.*, a "b")
│        └─ inbox orders.crm.inbox
│           └─ destination crm  (order none, retry 1s, system erp)
│              ├─ retry orders.crm.retry.1s
│              └─ dlq orders.crm.dlq
├─ source till  (positions orders.till.positions, dlq orders.till.dlq)
│  ├─ topic commerce.orders  (as above)
│  └─ topic commerce.returns
└─ topic commerce.refunds-2  (published elsewhere)
   └─ route refunded
      └─ inbox orders.crm.inbox
         └─ destination crm  (order none, retry 1s, system erp)
            ├─ retry orders.crm.retry.1s
            └─ dlq orders.crm.dlq
"""

MERMAID = """\
flowchart LR
    source_shop["shop"]
    source_shop_dlq[("orders.shop.dlq")]
    source_shop -. not canonical .-> source_shop_dlq
    source_till["till"]
    source_till_dlq[("orders.till.dlq")]
    source_till -. not canonical .-> source_till_dlq
    topic_orders[("commerce.orders")]
    source_shop --> topic_orders
    source_till --> topic_orders
    topic_returns[("commerce.returns")]
    source_till --> topic_returns
    topic_commerce_refunds_2[("commerce.refunds-2")]
    destination_warehouse_inbox[("orders.warehouse.inbox")]
    destination_warehouse["warehouse<br/>order key, retry 10s 1m, rate 50/s, reject 422 KeyError"]
    enrichment_with_rack["with_rack<br/>cache 10m, concurrent 20"]
    destination_warehouse_inbox --> enrichment_with_rack
    enrichment_with_rack --> destination_warehouse
    destination_warehouse_retry_1[("orders.warehouse.retry.10s")]
    destination_warehouse -. failed .-> destination_warehouse_retry_1
    destination_warehouse_retry_1 -. due .-> destination_warehouse
    destination_warehouse_retry_2[("orders.warehouse.retry.1m")]
    destination_warehouse -. failed .-> destination_warehouse_retry_2
    destination_warehouse_retry_2 -. due .-> destination_warehouse
    destination_warehouse_dlq[("orders.warehouse.dlq")]
    destination_warehouse -. dead .-> destination_warehouse_dlq
    destination_crm_inbox[("orders.crm.inbox")]
    destination_crm["crm<br/>order none, retry 1s, system erp"]
    destination_crm_inbox --> destination_crm
    destination_crm_retry_1[("orders.crm.retry.1s")]
    destination_crm -. failed .-> destination_crm_retry_1
    destination_crm_retry_1 -. due .-> destination_crm
    destination_crm_dlq[("orders.crm.dlq")]
    destination_crm -. dead .-> destination_crm_dlq
    topic_orders -- "pick_list" --> destination_warehouse_inbox
    topic_orders -- "history: only order.*, a #quot;b#quot;" --> destination_crm_inbox
    topic_commerce_refunds_2 -- "refunded" --> destination_crm_inbox
"""


def test_the_tree_shows_the_way_of_an_event_from_each_source() -> None:
    assert text(flow) == TREE


def test_mermaid_draws_the_same() -> None:
    assert mermaid(flow) == MERMAID


def test_tables_stand_at_their_topic() -> None:
    looked_up = Flow("looked-up", Params)
    topic = looked_up.existing_topic("commerce.orders", Order)
    looked_up.table(topic, name="orders", store="disk")
    looked_up.table(topic, by="status")
    assert text(looked_up) == (
        "flow looked-up\n"
        "└─ topic commerce.orders  (published elsewhere)\n"
        "   ├─ table orders  (disk)\n"
        "   └─ index commerce_orders_by_status  (memory)\n"
    )
    assert mermaid(looked_up) == (
        "flowchart LR\n"
        '    topic_commerce_orders[("commerce.orders")]\n'
        '    table_orders[["table orders"]]\n'
        "    topic_commerce_orders --> table_orders\n"
        '    table_commerce_orders_by_status[["index commerce_orders_by_status"]]\n'
        "    topic_commerce_orders --> table_commerce_orders_by_status\n"
    )


def test_an_empty_flow_is_a_line() -> None:
    empty = Flow("empty", Params)
    assert text(empty) == "flow empty\n"
    assert mermaid(empty) == "flowchart LR\n"
