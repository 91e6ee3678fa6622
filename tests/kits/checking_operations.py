"""Flow files with operations, right and wrong; their marks are those of ``checking_cases``."""

from __future__ import annotations

from checking_cases import ROUTED

DECLARED = (
    ROUTED
    + """
from trunkline import Call, HttpRequest
from trunkline.connectors.http import HttpSink
@flow.destination
def erp(env: Env) -> HttpSink[Order]: never(env)
"""
)

RIGHT_OPERATIONS = {
    "operations": DECLARED
    + """
@flow.operation(to=erp, verb="update", resource="orders", key="id", wait="5s", expires="1h")
def correct(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="cancel", resource="orders", doubt="ask", approve="lead")
def cancel(call: Call[PickList]) -> HttpRequest: ...
@flow.operation(to=erp, verb="get", resource="orders", key="id", wait="2s")
def look(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="update", resource="orders", key="id", doubt="check:look")
def sure(call: Call[Order]) -> HttpRequest: ...
""",
    "operations of a database": DECLARED
    + """
from collections.abc import Mapping
from trunkline.connectors.sql import SqlDatabase, SqlSink
@flow.destination
def erp_db(env: Env) -> SqlDatabase: never(env)
@flow.destination
def mart(env: Env) -> SqlSink[Order]: never(env)
ONE = "SELECT * FROM orders WHERE id = :id -- not ; another"
@flow.operation(to=erp_db, verb="get", resource="orders", key="id", sql=ONE)
def look(call: Call[Order]) -> Mapping[str, object]: ...
@flow.operation(
    to=erp_db, verb="update", resource="orders", doubt="check:look", sql="UPDATE o SET a = ';';"
)
def pay(call: Call[Order]) -> Order: ...
@flow.operation(to=mart, verb="update", resource="orders", sql="WITH x AS (SELECT 1) DELETE x")
def drop(call: Call[Order]) -> dict[str, str]: ...
@flow.operation(to=erp, verb="drop", resource="orders")
def shelve(call: Call[Order]) -> HttpRequest: ...
""",
}

WRONG_OPERATIONS = {
    "types of operations": DECLARED
    + """
class Loose(TypedDict):
    id: str
@flow.operation(to=erp, verb="create", resource="orders")  # !! takes Order: write Call[…]
def a(call: Order) -> HttpRequest: ...
@flow.operation(to=erp, verb="create", resource="orders")  # !! returns Order: an operation returns
def b(call: Call[Order]) -> Order: ...
@flow.operation(to=erp, verb="create", resource="orders")  # !! Call[Loose] has no Avro schema
def c(call: Call[Loose]) -> HttpRequest: ...
@flow.operation(to=erp, verb="create", resource="orders")  # !! takes 2 parameters: an operation
def d(call: Call[Order], more: int) -> HttpRequest: ...
""",
    "arguments of operations": DECLARED
    + """
@flow.operation(to=erp)  # !! verb= is missing # !! resource= is missing
def a(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="get", resource="a b", doubt="ask")  # !! get changes # !! no name
def b(call: Call[Order]) -> HttpRequest: ...
@flow.operation(  # !! wait=: '2m' is # !! expires=: '2d' is # !! 'no' is not # !! cost=: 0 is
    to=erp, verb="x", resource="orders", wait="2m", expires="2d", doubt="no", cost=0
)
def many(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o", max_backlog="0s")  # !! max_backlog=: '0s' is
def old(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="get", resource="o", max_backlog="5m")  # !! max_backlog=: get changes
def c(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o", wait="10s", expires="5s")  # !! wait= is longer
def d(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o", key="ident")  # !! key='ident' is no field
def e(call: Call[Order]) -> HttpRequest: ...
""",
    "queries that tell whether a call was done": DECLARED
    + """
@flow.operation(to=erp, verb="get", resource="o")
def look(call: Call[PickList]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o", doubt="check:look")  # !! look needs the field
def a(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o", doubt="check:a")  # !! no operation a that only
def b(call: Call[Order]) -> HttpRequest: ...
""",
    "topics that systems send to the gateway": DECLARED
    + """
class Loose(TypedDict):
    id: str
a = flow.received_topic("shop.a", Order, key="ident")  # !! key='ident' is no field # !! no route
b = flow.received_topic("shop.b", Loose, key="id")  # !! Loose has no Avro schema # !! no route
@flow.operation(to=erp, verb="x", resource="o")
def c(call: Call[Order]) -> HttpRequest: ...
""",
    "destinations of operations": DECLARED
    + """
@flow.destination(order="none")
def loose(env: Env) -> HttpSink[Order]: never(env)
@flow.operation(to=loose, verb="x", resource="o")  # !! the destination loose has order='none'
def a(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=warehouse, verb="x", resource="o")  # !! which runs no operations: use an
def b(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=orders, verb="x", resource="o")  # !! name a destination of this flow
def c(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o")
def d(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o")  # !! the name is taken by the operation in line
def d(call: Call[Order]) -> HttpRequest: ...
""",
    "statements of operations": DECLARED
    + """
from collections.abc import Mapping
from trunkline.connectors.sql import SqlDatabase
@flow.destination
def db(env: Env) -> SqlDatabase: never(env)
@flow.operation(to=db, verb="get", resource="o", sql="DELETE FROM o")  # !! a query reads
def a(call: Call[Order]) -> Mapping[str, object]: ...
@flow.operation(to=db, verb="x", resource="o", sql="DROP TABLE o")  # !! it begins with INSERT
def b(call: Call[Order]) -> Mapping[str, object]: ...
@flow.operation(to=db, verb="x", resource="o", sql="DELETE FROM o; COMMIT")  # !! more than one
def c(call: Call[Order]) -> Mapping[str, object]: ...
@flow.operation(to=db, verb="x", resource="o", sql="")  # !! is no statement
def d(call: Call[Order]) -> Mapping[str, object]: ...
@flow.operation(to=db, verb="x", resource="o")  # !! give the operation its statement, sql=
def e(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o", sql="DELETE FROM o")  # !! leave sql= out
def f(call: Call[Order]) -> Mapping[str, object]: ...
@flow.operation(to=db, verb="x", resource="o", sql="DELETE FROM o")  # !! with sql= it returns
def g(call: Call[Order]) -> HttpRequest: ...
""",
    "routes that call operations": DECLARED
    + """
@flow.operation(to=erp, verb="get", resource="o")
def a(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o", approve="lead")
def b(call: Call[Order]) -> HttpRequest: ...
@flow.operation(to=erp, verb="x", resource="o")
def c(call: Call[PickList]) -> HttpRequest: ...
@flow.route(orders, to=a)  # !! calls a, which only reads
def ra(order: Event[Order]) -> Order: ...
@flow.route(orders, to=b)  # !! calls b, each call of which somebody must approve
def rb(order: Event[Order]) -> Order: ...
@flow.route(orders, to=c)  # !! returns Order, but the operation c takes PickList
def rc(order: Event[Order]) -> Order: ...
@flow.route(orders, to=c)
def rd(order: Event[Order]) -> list[PickList]: ...
""",
    "operations of an enriched destination": DECLARED
    + """
@flow.enrich(to=erp)
async def more(order: PickList) -> Order: ...
@flow.route(orders, to=more)
def z(order: Event[Order]) -> PickList: ...
@flow.operation(to=erp, verb="x", resource="o")  # !! the destination erp has the enrichment more
def a(call: Call[Order]) -> HttpRequest: ...
""",
}
