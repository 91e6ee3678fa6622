"""A topic to three destinations of one API, which misbehaves, and to a table, which goes and comes:
the flow of test_deliver_through_anything.py.

``FLOW`` names the flow. Each request says which worker sends it and how many attempts failed.
"""

import asyncio
import os
import random
import time
from urllib.parse import quote

from faulty_server import HALTING, TIMEOUT
from stored_table import table_sink

from trunkline import CircuitBreaker, Event, Flow, Params, Retry, Secret
from trunkline.connectors.http import HttpSink
from trunkline.connectors.sql import SqlSink
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]
RETRY = Retry("500ms", "2s", "5s", max_retry_after="2s")
BREAKER = CircuitBreaker(open="500ms", longest="2s", slow_start="1s")

SLOW = {0.3: 0.004, 4.0: 0.0003}
"""Seconds that a route takes for an event, and for what share of events."""
SLOWEST = ("k7", 15), 11.0
"""The event that takes longer than Kafka lets a transaction be open, and how long."""


class Env(Params):
    ordered: str
    unordered: str
    halting: str
    stored: Secret


flow = Flow(NAME, Env)
orders = flow.existing_topic(f"{NAME}.orders", Order)


def path(event: Event[Order]) -> str:
    attempt, id_ = event.header("tl_attempt"), quote(event.id)
    return f"/orders/{event.key}?attempt={attempt}&sent={time.monotonic()}&id={id_}"


def sink(url: str) -> HttpSink[Order]:
    headers = {"Worker": str(os.getpid())}
    return HttpSink(url, Order, path=path, headers=headers, timeout=TIMEOUT, concurrency=16)


def slowness(order: Event[Order]) -> float:
    """Seconds that the event's route takes."""
    drawn = random.Random(f"slow/{order.key}/{order.data['total_cents']}").random()
    for seconds, share in SLOW.items():
        drawn -= share
        if drawn < 0:
            return seconds
    return 0.0


@flow.destination(retry=RETRY, breaker=BREAKER)
def ordered(env: Env) -> HttpSink[Order]:
    return sink(env.ordered)


@flow.destination(order="none", retry=RETRY, breaker=BREAKER)
def unordered(env: Env) -> HttpSink[Order]:
    return sink(env.unordered)


@flow.destination(on_dead="halt", retry=RETRY, breaker=BREAKER)
def halting(env: Env) -> HttpSink[Order]:
    return sink(env.halting)


@flow.destination(retry=RETRY, breaker=BREAKER)
def stored(env: Env) -> SqlSink[Order]:
    return table_sink(env.stored.reveal(), NAME.replace("-", "_"))


@flow.route(orders, to=ordered)
def to_ordered(order: Event[Order]) -> Order:
    return order.data


@flow.route(orders, to=unordered)
def to_unordered(order: Event[Order]) -> Order:
    time.sleep(slowness(order))
    return order.data


@flow.route(orders, to=halting)
def to_halting(order: Event[Order]) -> Order | None:
    return order.data if order.key in HALTING else None


@flow.route(orders, to=stored)
async def to_stored(order: Event[Order]) -> Order:
    if (order.key, order.data["total_cents"]) == SLOWEST[0]:
        await asyncio.sleep(SLOWEST[1])
    return order.data
