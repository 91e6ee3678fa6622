"""The customers of the tables job: what its orders look up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from trunkline.schemas.types import avro_type


class Customer(TypedDict):
    id: str
    name: str
    city: str
    country: str
    discount: int
    parent: str | None


avro_type(Customer, Path(__file__).with_name("avro_schemas").joinpath("Customer.avsc").read_text())


def customers(count: int) -> Iterator[Customer]:
    """So many customers, always the same ones; each has another one as its parent company."""
    for number in range(count):
        yield Customer(
            id=f"cus-{number:06}",
            name=f"Anna Maria Rossi {number}",
            city="Torino",
            country="IT",
            discount=number % 30,
            parent=f"cus-{number * 7919 % count:06}",
        )
