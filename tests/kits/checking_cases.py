"""Flow files, right and wrong, for the tests of ``trunkline check``.

``# !! text`` marks a line that must have a problem whose message contains the text. All problems
of a file must be marked, and all marks must be found.
"""

from __future__ import annotations

FUTURE = "from __future__ import annotations\n"

HEAD = """
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, TypedDict
from trunkline import Event, Flow, Params, Record, Retry, Secret
from trunkline.connectors.base import PushSource, Sink, Source
from trunkline.schemas.commerce import Order, PickList

class Env(Params):
    url: str

class Picks(Sink[PickList]): ...
class Orders(Sink[Order]): ...

def never(env): raise AssertionError("a check builds nothing")
"""

WIRED = """
flow = Flow("orders", Env)

@flow.source
def shop(env: Env) -> Source: never(env)

@flow.topic("commerce.orders", source=shop)
def orders(row: Record) -> Order: ...

@flow.destination
def warehouse(env: Env) -> Picks: never(env)
"""

ROUTED = (
    WIRED
    + """
@flow.route(orders, to=warehouse)
def picks(order: Event[Order]) -> PickList | None: ...
"""
)

RIGHT = {
    "small": ROUTED,
    "params of a base": ROUTED.replace("(env: Env) -> Source", "(env: Params) -> Source"),
    "returns": WIRED
    + """
@flow.route(orders, to=warehouse)
def one(order: Event[Order]) -> PickList: ...
@flow.route(orders, to=warehouse)
def several(order: Event[Order]) -> list[PickList] | None: ...
@flow.route(orders, to=warehouse)
def a_tuple(order: Event[Order]) -> tuple[PickList, ...]: ...
@flow.route(orders, to=warehouse)
def a_sequence(order: Event[Order]) -> Sequence[PickList] | PickList: ...
@flow.route(orders, to=warehouse)
async def later(order: Event[Order]) -> PickList | None: ...
@flow.route(orders, to=warehouse)
def nothing(order: Event[Order]) -> None: ...
@flow.route(orders, to=warehouse)
def trust_me(order: Event[Any]) -> Any: ...
""",
    "only": WIRED
    + """
@flow.route(orders, to=warehouse, only="commerce.orders.create")
def one(order: Event[Order]) -> PickList: ...
@flow.route(orders, to=warehouse, only=["*.delete", "commerce.*"])
def two(order: Event[Order]) -> PickList: ...
""",
    "only of a type that is decided when it runs": ROUTED
    + """
@flow.topic("commerce.paid", source=shop, event_type=lambda order: order["status"])
def paid(row: Record) -> Order: ...
@flow.route(paid, to=warehouse, only="order.paid")
def two(order: Event[Order]) -> PickList: ...
""",
    "an existing topic": ROUTED
    + """
refunds = flow.existing_topic("commerce.refunds", Order, start="2026-11-01T00:00Z")
@flow.route(refunds, to=warehouse, only="anything")
def refunded(order: Event[Order]) -> PickList: ...
""",
    "sinks that are generic": ROUTED
    + """
from typing import Generic, TypeVar
X, Y = TypeVar("X"), TypeVar("Y")
class Twice(Sink[Y], Generic[X, Y]): ...
class Half(Twice[int, Y]): ...
class Whole(Half[Order]): ...
class Derived(Whole): ...
@flow.destination
def a(env: Env) -> Half[Order]: never(env)
@flow.destination
def b(env: Env) -> Derived: never(env)
@flow.route(orders, to=a)
def to_a(order: Event[Order]) -> Order: ...
@flow.route(orders, to=b)
def to_b(order: Event[Order]) -> Order: ...
""",
    "a push source": ROUTED.replace("-> Source", "-> PushSource"),
}

WRONG = {
    "the flow's name": """
flow = Flow("our orders", Env)  # !! flow 'our orders': Kafka takes letters
""",
    "a name of all": '\nflow = Flow("trunkline", Env)  # !! that all gateways and workers have\n',
    "names": """
flow = Flow("orders", Env)

@flow.source  # !! its topic 'orders.caffè.positions' cannot be # !! 'orders.caffè.dlq' cannot be
def caffè(env: Env) -> Source: never(env)

@flow.topic("commerce/orders", source=caffè)  # !! its topic 'commerce/orders' cannot be
def orders(row: Record) -> Order: ...

@flow.destination
def warehouse(env: Env) -> Picks: never(env)

@flow.route(orders, to=warehouse)
def picks(order: Event[Order]) -> PickList: ...
""",
    "a name that is too long with what is added": ROUTED.replace('"orders"', f'"{"o" * 235}"')
    .replace(
        "@flow.destination",
        "@flow.destination  # !! .inbox' cannot be # !! retry.10s' # !! retry.1m' # !! retry.10m'",
    )
    .replace("@flow.source", "@flow.source  # !! shop.positions' cannot be"),
    "params that are none": ROUTED.replace(
        'Flow("orders", Env)',
        'Flow("orders", dict)  # !! dict is no class that derives from Params',
    )
    .replace("@flow.source", "@flow.source  # !! takes Env, but the flow's parameters are dict")
    .replace(
        "@flow.destination", "@flow.destination  # !! takes Env, but the flow's parameters are dict"
    ),
    "the same name twice": ROUTED
    + """
@flow.route(orders, to=warehouse)  # !! the name is taken by the route in line
def picks(order: Event[Order]) -> PickList: ...

@flow.route(orders, to=warehouse)  # !! the name is taken by the source in line
def shop(order: Event[Order]) -> PickList: ...
""",
    "a topic declared twice": ROUTED
    + """
@flow.topic("commerce.orders", source=shop)  # !! declared in line # !! warning: topic again
def again(row: Record) -> Order: ...

more = flow.existing_topic("commerce.orders", Order)  # !! declared in line # !! warning: topic
odd = flow.existing_topic("a.odd", Order, start="monday")  # !! start='monday' # !! warning: topic
""",
    "parts of another flow": ROUTED
    + """
others = [Flow("other", Env)]

@others[0].source
def there(env: Env) -> Source: never(env)
@others[0].topic("commerce.there", source=there)
def existing(row: Record) -> Order: ...
@others[0].destination
def elsewhere(env: Env) -> Picks: never(env)

@flow.topic("commerce.here", source=there)  # !! source there belongs to the flow 'other'
def here(row: Record) -> Order: ...
@flow.route(here, to=elsewhere)  # !! destination elsewhere belongs to the flow 'other'
def away(order: Event[Order]) -> PickList: ...
@flow.route(existing, to=warehouse)  # !! use flow.existing_topic('commerce.there', …)
def back(order: Event[Order]) -> PickList: ...
""",
    "loose ends": """
flow = Flow("orders", Env)

@flow.source  # !! no topic takes its records
def shop(env: Env) -> Source: never(env)

@flow.topic("commerce.orders", source=[])  # !! no source feeds it # !! warning: topic
def orders(row: Record) -> Order: ...

@flow.destination  # !! no route leads to it
def warehouse(env: Env) -> Picks: never(env)
""",
    "things in the wrong place": ROUTED
    + """
@flow.topic("commerce.paid", source=orders)  # !! source= is <topic orders.orders>: name a source
def paid(row: Record) -> Order: ...

@flow.route(paid, to=warehouse)
def right(order: Event[Order]) -> PickList: ...

@flow.route("commerce.orders", to=shop)  # !! first argument is 'commerce.orders' # !! to= is
def wrong(order: Event[Order]) -> PickList: ...
""",
    "no annotations": """
flow = Flow("orders", Env)

@flow.source  # !! parameter 'env' has no annotation # !! does not say what it returns
def shop(env): never(env)

@flow.topic("commerce.orders", source=shop)  # !! does not say what it returns
def orders(row: Record): ...

@flow.destination  # !! does not say what it returns
def warehouse(env: Env): never(env)

@flow.route(orders, to=warehouse)  # !! parameter 'order' has no annotation
def picks(order) -> PickList: ...
""",
    "annotations that are not there": ROUTED
    + """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from trunkline.schemas.commerce import Order as Hidden

@flow.route(orders, to=warehouse)  # !! 'Hidden' in its annotations is not there
def hidden(order: "Event[Hidden]") -> PickList: ...
""",
    "parameters": """
flow = Flow("orders", Env)

@flow.source  # !! takes 0 parameters: a source takes one
def shop() -> Source: never(0)

@flow.topic("commerce.orders", source=shop)  # !! takes 2 parameters: a topic takes one
def orders(row: Record, extra: int) -> Order: ...

@flow.destination  # !! takes 2 parameters
def warehouse(env: Env, extra: int) -> Picks: never(env)

@flow.route(orders, to=warehouse)  # !! takes 0 parameters
def picks() -> PickList: ...
""",
    "async where Python waits": """
flow = Flow("orders", Env)

@flow.source  # !! is async: only routes may be
async def shop(env: Env) -> Source: never(env)

@flow.topic("commerce.orders", source=shop)  # !! is async
async def orders(row: Record) -> Order: ...

@flow.destination  # !! is async
async def warehouse(env: Env) -> Picks: never(env)

@flow.route(orders, to=warehouse)
def picks(order: Event[Order]) -> PickList: ...
""",
    "builders of something else": ROUTED
    + """
class Other(Params):
    dsn: str

@flow.source  # !! takes Other, but the flow's parameters are Env # !! which is no Source
def other(env: Other) -> str: never(env)

@flow.topic("commerce.others", source=other)  # !! warning: topic others
def others(row: Record) -> Order: ...

@flow.destination  # !! returns str, which is no Sink
def nowhere(env: Env) -> str: never(env)

@flow.destination  # !! says not what its sink accepts: write -> Sink[Order]
def unsaid(env: Env) -> Sink: never(env)

@flow.destination  # !! the sink accepts Order | PickList: it must be one type
def both(env: Env) -> Sink[Order | PickList]: never(env)

@flow.route(orders, to=nowhere)
def a(order: Event[Order]) -> PickList: ...
@flow.route(orders, to=unsaid)
def b(order: Event[Order]) -> PickList: ...
@flow.route(orders, to=both)
def c(order: Event[Order]) -> PickList: ...
""",
    "types of topics": ROUTED
    + """
class Loose(TypedDict):
    id: str

@flow.topic("commerce.a", source=shop)  # !! Loose has no Avro schema # !! warning
def a(row: Record) -> Loose: ...
@flow.topic("commerce.b", source=shop)  # !! returns several types # !! warning
def b(row: Record) -> Order | PickList: ...
@flow.topic("commerce.c", source=shop)  # !! returns list[Order]: it must be one type # !! warning
def c(row: Record) -> list[Order]: ...
@flow.topic("commerce.d", source=shop)  # !! returns NoneType: it must be one type # !! warning
def d(row: Record) -> None: ...
""",
    "types of routes": WIRED
    + """
@flow.route(orders, to=warehouse)  # !! takes Event[PickList], but commerce.orders carries Order
def a(order: Event[PickList]) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! takes Order: write Event[…]
def b(order: Order) -> PickList: ...
@flow.route(orders, to=warehouse)  # !! but the destination warehouse accepts PickList
def c(order: Event[Order]) -> Order: ...
@flow.route(orders, to=warehouse)  # !! returns Order, but
def d(order: Event[Order]) -> list[Order] | None: ...
@flow.route(orders, to=warehouse)  # !! returns Order, but
async def e(order: Event[Order]) -> PickList | Order: ...
@flow.route(orders, to=warehouse)  # !! write async def, and return a list
def f(order: Event[Order]) -> Awaitable[PickList]: ...
@flow.route(orders, to=warehouse)  # !! write async def, and return a list
def g(order: Event[Order]) -> Iterator[PickList]: ...
@flow.route(orders, to=warehouse)  # !! returns dict[str, PickList], but
def h(order: Event[Order]) -> dict[str, PickList]: ...
""",
    "patterns that never match": ROUTED
    + """
@flow.topic("commerce.paid", source=shop, event_type="order.paid")
def paid(row: Record) -> Order: ...
@flow.route(paid, to=warehouse, only=["order.*", "order.payed"])  # !! only='order.payed' never
def a(order: Event[Order]) -> PickList: ...
@flow.route(orders, to=warehouse, only="order.*")  # !! only='order.*' never matches
def b(order: Event[Order]) -> PickList: ...
""",
    "a flow's arguments in the wrong order": """
flow = Flow(Env, "orders")  # !! Kafka takes letters # !! orders is no class that
""",
    "arguments that type checkers see too": WIRED
    + """
@flow.topic(17, source=shop, key="id", event_type=3)  # !! topic 17 # !! key= # !! event_type=3
def a(row: Record) -> Order: ...
@flow.route(a, to=warehouse)
def b(order: Event[Order]) -> PickList: ...
@flow.route(orders, to=warehouse, only=[None])  # !! only=(None,): it is a text # !! never matches
def c(order: Event[Order]) -> PickList: ...
""",
    "names whose consumer groups are taken": ROUTED
    + """
@flow.destination  # !! 'orders.sources' is the consumer group
def sources(env: Env) -> Picks: never(env)
@flow.route(orders, to=sources)
def b(order: Event[Order]) -> PickList: ...
""",
    "names of topics that are taken": ROUTED
    + """
@flow.topic("orders.control", source=shop)  # !! is a topic that orders keeps for itself
def a(row: Record) -> Order: ...
@flow.topic("orders.warehouse.retry.10s", source=shop)  # !! that warehouse keeps for itself
def b(row: Record) -> Order: ...
@flow.route(a, to=warehouse)
def from_a(order: Event[Order]) -> PickList: ...
@flow.route(b, to=warehouse)
def from_b(order: Event[Order]) -> PickList: ...
""",
    "a flow's name that leaves no room for its topics": """
flow = Flow("o" * 245, Env)  # !! control': Kafka takes letters
""",
    "policies": WIRED
    + """
@flow.destination(order="keys", retry="10s")  # !! order: 'keys' is not # !! retry: '10s' is no
def a(env: Env) -> Picks: never(env)
@flow.destination(  # !! rate: '-5/s' is not a rate # !! concurrent: 0 is # !! batch: True is
    rate="-5/s",
    concurrent=0,
    batch=True,
)
def b(env: Env) -> Picks: never(env)
@flow.destination(linger="soon", timeout="0s", delay=60)  # !! linger: # !! timeout: # !! delay: 60
def c(env: Env) -> Picks: never(env)
@flow.destination(order="none", on_dead="halt")  # !! on_dead='halt' keeps a key blocked
def d(env: Env) -> Picks: never(env)
@flow.destination(reject=[409, Exception], retry=Retry("1s", on=[409]))  # !! 409 is # !! Exception
def e(env: Env) -> Picks: never(env)
@flow.destination(reties=Retry("1s"), system="erp")  # !! reties= is no # !! system: 'erp'
def f(env: Env) -> Picks: never(env)
@flow.destination(outage="tier", on_dead=1)  # !! outage: 'tier' # !! on_dead: 1
def g(env: Env) -> Picks: never(env)
@flow.destination(rate="0/s", reject=["422"])  # !! rate: the rate '0/s' # !! reject: '422' is
def h(env: Env) -> Picks: never(env)
@flow.destination(maintenance="Sun 02:00 2h Europe/Roma")  # !! there is no time zone
def i(env: Env) -> Picks: never(env)
@flow.destination(maintenance=["daily 02:00 25h UTC"])  # !! must be shorter than its period
def j(env: Env) -> Picks: never(env)
@flow.destination(maintenance="0 2 * * SUM 2h Europe/Rome")  # !! '0 2 * * SUM' is not a cron exp
def k(env: Env) -> Picks: never(env)
@flow.destination(maintenance=2, breaker=5)  # !! maintenance: 2 # !! breaker:
def l(env: Env) -> Picks: never(env)
@flow.destination(dead_letter_limit=1)  # !! dead_letter_limit: 1 is no DeadLetterLimit
def m(env: Env) -> Picks: never(env)

def route(end):
    def picks(order: Event[Order]) -> PickList: ...
    picks.__name__ = f"to_{end.name}"
    flow.route(orders, to=end)(picks)

for end in (a, b, c, d, e, f, g, h, i, j, k, l, m):
    route(end)
@flow.route(orders, to=warehouse)
def picks(order: Event[Order]) -> PickList: ...
""",
}
