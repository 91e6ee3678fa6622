"""Flow files with enrichments, right and wrong; their marks are those of ``checking_cases``."""

from __future__ import annotations

from checking_cases import WIRED

ENRICHED = (
    WIRED
    + """
from trunkline import CircuitBreaker
class Http: ...
@flow.client
async def http(env: Env) -> AsyncIterator[Http]:
    yield never(env)
"""
)

RIGHT_ENRICHMENTS = {
    "enrichments": ENRICHED
    + """
@flow.enrich(to=warehouse, cache="10m", concurrent=20, timeout="5s", breaker=CircuitBreaker())
async def with_order(order: Order, env: Env, http: Http, base: Params) -> PickList | None: ...
@flow.route(orders, to=with_order)
def a(order: Event[Order]) -> Order: ...
@flow.route(orders, to=warehouse)
def b(order: Event[Order]) -> Order: ...
""",
}

WRONG_ENRICHMENTS = {
    "types around an enrichment": ENRICHED
    + """
@flow.enrich(to=warehouse)  # !! returns Order, but the sink of warehouse accepts PickList
async def with_order(order: Order) -> Order: ...
@flow.route(orders, to=warehouse)  # !! returns PickList, but the enrichment with_order takes Order
def a(order: Event[Order]) -> PickList: ...
""",
    "parameters of an enrichment": ENRICHED
    + """
@flow.destination
def shop2(env: Env) -> Picks: never(env)
@flow.enrich(to=warehouse)  # !! nothing is known for its parameter clock: int: there are Env, Http
async def one(order: Order, clock: int) -> PickList: ...
@flow.enrich(to=shop2)  # !! its parameter 'http' has no annotation
async def two(order: Order, http) -> PickList: ...
@flow.route(orders, to=warehouse)
def a(order: Event[Order]) -> Order: ...
@flow.route(orders, to=shop2)
def b(order: Event[Order]) -> Order: ...
""",
    "enrichments of other forms": ENRICHED
    + """
class Loose(TypedDict):
    id: str
@flow.destination
def shop2(env: Env) -> Picks: never(env)
@flow.enrich(to=warehouse)  # !! is not async: write async def # !! has no Avro schema
def sync(order: Loose) -> PickList: ...
@flow.enrich(to=warehouse)  # !! warehouse has the enrichment sync in line
async def second(order: Order) -> PickList: ...
@flow.enrich(to=shop)  # !! to= is <source orders.shop>: name a destination
async def elsewhere(order: Order) -> PickList: ...
@flow.enrich(to=shop2)  # !! takes 0 parameters: an enr # !! does not say what
async def nothing(): ...
@flow.route(orders, to=warehouse)
def a(order: Event[Order]) -> Loose: ...
@flow.route(orders, to=shop2)
def b(order: Event[Order]) -> Order: ...
""",
    "arguments of an enrichment": ENRICHED
    + """
@flow.enrich(to=warehouse, cache=10, concurrent=0)  # !! cache=: 10 is not # !! concurrent=: 0 is
async def one(order: Order) -> PickList: ...
@flow.destination
def shop2(env: Env) -> Picks: never(env)
@flow.enrich(to=shop2, timeout="0s", breaker=5, tries=3)  # !! timeout=: # !! breaker= # !! tries=
async def two(order: Order) -> PickList: ...
@flow.route(orders, to=one)
def a(order: Event[Order]) -> Order: ...
@flow.route(orders, to=two)
def b(order: Event[Order]) -> Order: ...
""",
    "clients": ENRICHED
    + """
class Other(Params): ...
@flow.client  # !! the client http in line
async def again(env: Env) -> AsyncIterator[Http]:
    yield never(env)
@flow.client  # !! is no async generator: write async def # !! returns int: write async def, yield
def number(env: Env) -> int: ...
@flow.client  # !! takes Other, but the flow's parameters are Env
async def elsewhere(env: Other) -> AsyncIterator[str]:
    yield never(env)
@flow.client  # !! takes 0 parameters: a client takes one
async def nothing() -> AsyncIterator[bytes]:
    yield never(0)
@flow.route(orders, to=warehouse)
def a(order: Event[Order]) -> PickList: ...
""",
}
