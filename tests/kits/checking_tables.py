"""Flow files with tables, right and wrong, as those of ``checking_cases``."""

from __future__ import annotations

from checking_cases import ROUTED

RIGHT_TABLES = (
    ROUTED
    + """
from trunkline import Index, Table
picked = flow.existing_topic("warehouse.picks", PickList)
flow.table(picked)
flow.table(orders)
flow.table(orders, name="open_orders")
flow.table(orders, by="status")
flow.table(orders, by="total_cents")

@flow.route(orders, to=warehouse)
def by_type(order: Event[Order], anything: Table[PickList]) -> PickList: ...
@flow.route(orders, to=warehouse)
async def by_name(
    order: Event[Order], open_orders: Table[Order], *, orders_by_status: Index[Order]
) -> PickList: ...
@flow.route(orders, to=warehouse)
def own_default(order: Event[Order], cents: int = 7) -> PickList: ...
@flow.route(orders, to=warehouse)
def with_parameters(order: Event[Order], env: Env) -> PickList: ...
@flow.route(orders, to=warehouse)
async def with_all_of_it(
    order: Event[Order], some: Params, *, orders_by_status: Index[Order], env: Env
) -> PickList: ...
"""
)

WRONG_TABLES = (
    ROUTED
    + """
from trunkline import Index, Table
picked = flow.existing_topic("warehouse.picks", PickList)
class Others(Params): ...
by_id = flow.existing_topic("commerce.others", Order)

flow.table("commerce.orders")  # !! its first argument is 'commerce.orders'
flow.table(picked, by="id")  # !! PickList has no field 'id'; it has order_id
flow.table(picked, store="tape")  # !! store='tape': it is "memory" or "disk"
flow.table(orders)
flow.table(orders)  # !! the name is taken by the table in line
flow.table(by_id, name="by-id")  # !! name='by-id': it is a name as a parameter has

@flow.route(orders, to=warehouse)  # !! several tables of the flow: call it as one of by-id, orders
def several(order: Event[Order], some: Table[Order]) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! Index[Order] is no table of the flow: orders is Table[Order]
def no_index(order: Event[Order], some: Index[Order]) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! declare one, as some = flow.table(topic)
def none(order: Event[Order], some: Table[str]) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! its parameter some: int is nothing that a route is given
def a_number(order: Event[Order], some: int) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! some: Others is nothing that a route is given: it may be Env
def of_another_flow(order: Event[Order], some: Others) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! some: object is nothing that a route is given: it may be Env
def of_any_object(order: Event[Order], some: object) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! says not what it holds: write Table[Customer]
def of_anything(order: Event[Order], some: Table) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! its parameter 'some' has no annotation
def of_nothing(order: Event[Order], some) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! its parameter 'some' is positional only
def by_position(order: Event[Order], some: Table[Order], /) -> PickList: ...
"""
)
