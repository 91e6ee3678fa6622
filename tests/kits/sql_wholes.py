"""For the tests of SqlSink with an owner: orders with their lines, and what a table must hold."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypedDict

from sql_items import described
from trunkline.connectors.contract import make_event
from trunkline.event import Event

WHOLE: dict[str, Any] = {"key": ["order", "number"], "owner": "order"}


class Part(TypedDict):
    order: str
    number: int
    price: Decimal
    note: str | None


class Whole(TypedDict):
    order: str
    status: str
    lines: list[Part]


PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
PART = {
    "type": "record",
    "name": "Part",
    "fields": [
        {"name": "order", "type": "string"},
        {"name": "number", "type": "long"},
        {"name": "price", "type": PRICE},
        {"name": "note", "type": ["null", "string"]},
    ],
}
described(Whole, order="string", status="string", lines={"type": "array", "items": PART})


def part(order: str, number: int, amount: int = 1, note: str | None = None) -> Part:
    return Part(order=order, number=number, price=Decimal(amount), note=note)


def whole(order: str, numbers: Iterable[int], offset: int, amount: int = 1) -> Event[Any]:
    """An order with lines of these numbers."""
    lines = [part(order, number, amount) for number in numbers]
    return make_event(order, Whole(order=order, status="new", lines=lines), offset=offset)


def random_inbox(dice: random.Random, size: int, owners: str = "abcde") -> list[Event[Any]]:
    """Wholes of few owners that grow, shrink, are empty and are deleted."""
    inbox: list[Event[Any]] = []
    for offset in range(size):
        owner = dice.choice(owners)
        if dice.random() < 0.2:
            inbox.append(make_event(owner, change="delete", offset=offset))
            continue
        numbers = dice.sample(range(12), dice.randint(0, 8))
        inbox.append(whole(owner, numbers, offset, amount=offset))
    return inbox


def batches_with_repeats(
    dice: random.Random, inbox: Sequence[Event[Any]]
) -> Iterator[list[Event[Any]]]:
    """The inbox in batches; after each a part of what was delivered comes again, in its order."""
    at = 0
    while at < len(inbox):
        size = dice.randint(1, 20)
        yield list(inbox[at : at + size])
        at = min(at + size, len(inbox))
        begin = dice.randint(0, at - 1)
        yield list(inbox[begin : dice.randint(begin + 1, at)])


def folded(inbox: Iterable[Event[Any]]) -> list[tuple[Any, ...]]:
    """The rows that a table must hold when all of these were delivered."""
    newest: dict[str, list[Part]] = {}
    for event in inbox:
        newest[event.key] = [] if event.change == "delete" else event.data["lines"]
    return sorted(
        (row["order"], row["number"], row["price"]) for rows in newest.values() for row in rows
    )
