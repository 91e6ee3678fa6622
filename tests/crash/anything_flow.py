"""A topic to three destinations of one API, which misbehaves: the flow of
test_deliver_through_anything.py.

``FLOW`` names the flow. Each request says which worker sends it and how many attempts failed.
"""

import os
import time
from urllib.parse import quote

from faulty_server import HALTING, TIMEOUT

from trunkline import CircuitBreaker, Event, Flow, Params, Retry
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]
RETRY = Retry("500ms", "2s", "5s", max_retry_after="2s")
BREAKER = CircuitBreaker(open="500ms", longest="2s", slow_start="1s")


class Env(Params):
    ordered: str
    unordered: str
    halting: str


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


def path(event: Event[Order]) -> str:
    attempt, id_ = event.header("tl_attempt"), quote(event.id)
    return f"/orders/{event.key}?attempt={attempt}&sent={time.monotonic()}&id={id_}"


def sink(url: str) -> HttpSink[Order]:
    headers = {"Worker": str(os.getpid())}
    return HttpSink(url, Order, path=path, headers=headers, timeout=TIMEOUT, concurrency=16)


@flow.destination(retry=RETRY, breaker=BREAKER)
def ordered(env: Env) -> HttpSink[Order]:
    return sink(env.ordered)


@flow.destination(order="none", retry=RETRY, breaker=BREAKER)
def unordered(env: Env) -> HttpSink[Order]:
    return sink(env.unordered)


@flow.destination(on_dead="halt", retry=RETRY, breaker=BREAKER)
def halting(env: Env) -> HttpSink[Order]:
    return sink(env.halting)


@flow.route(orders, to=ordered)
def to_ordered(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=unordered)
def to_unordered(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=halting)
def to_halting(order: Event[Order]) -> Order | None:
    return order.data if order.key in HALTING else None
