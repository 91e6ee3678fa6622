"""A flow of six sources that count, each record of which tells the process that read it. ``FLOW``
names it."""

import os
import threading
from collections.abc import Iterator

from trunkline import Flow, Params, Record
from trunkline.connectors.base import Batch, Position, Source
from trunkline.schemas.commerce import Order

NAME = os.environ["FLOW"]
PAUSE = 0.1
"""Seconds between two numbers."""


class Env(Params):
    """No parameters."""


class Numbers(Source):
    """1, 2, 3, …, under one key. The position is the last one."""

    def __init__(self, key: str) -> None:
        self._key = key

    def read(self, position: Position | None, stop: threading.Event) -> Iterator[Batch]:
        """See ``Source.read``."""
        number = int(str(position or 0))
        while not stop.wait(PAUSE):
            number += 1
            data = {"number": number, "by": str(os.getpid())}
            yield Batch([Record(key=self._key, data=data, id=f"{self._key}-{number}")], number)


flow = Flow(NAME, Env)


@flow.source
def a(env: Env) -> Numbers:
    return Numbers("a")


@flow.source
def b(env: Env) -> Numbers:
    return Numbers("b")


@flow.source
def c(env: Env) -> Numbers:
    return Numbers("c")


@flow.source
def d(env: Env) -> Numbers:
    return Numbers("d")


@flow.source
def e(env: Env) -> Numbers:
    return Numbers("e")


@flow.source
def f(env: Env) -> Numbers:
    return Numbers("f")


@flow.topic(f"{NAME}.numbers", source=[a, b, c, d, e, f])
def numbers(row: Record) -> Order:
    return Order(id=row.key, status=row.data["by"], total_cents=row.data["number"])
